/** The text as subtitles, and which rules of their profile each of them breaks. */

import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { VList } from 'virtua'
import { get } from '../../api/client'
import type { CueList } from '../../api/types'
import { clock } from '../../app/format'
import { Trouble } from '../../app/Trouble'
import { type TextKey, useT } from '../../i18n'
import { Badge, Loading, Select } from '../../ui'
import { PROFILES } from '../ExportMenu'

type Props = { jobId: string; revision: number; onGo: (seconds: number) => void }
type Cue = CueList['items'][number]

export function CueView({ jobId, revision, onGo }: Props) {
  const t = useT()
  const [profile, setProfile] = useState('')
  const [faulty, setFaulty] = useState(false)
  const cues = useQuery({
    queryKey: ['cues', jobId, revision, profile],
    queryFn: ({ signal }) => get<CueList>(`/transcripts/${jobId}/cues${profile && `?cues=${profile}`}`, signal),
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
  })
  const all = cues.data?.items ?? []
  const wrong = all.filter((one) => one.problems.length)
  const shown = faulty ? wrong : all
  return (
    <div>
      <div className="flex flex-wrap items-end gap-3 border-b border-line px-3 py-2">
        <Select label={t('cues.label')} className="grow basis-52" value={profile} onChange={(event) => setProfile(event.target.value)}>
          {PROFILES.map((one) => (
            <option key={one.cues} value={one.cues}>
              {t(one.text)}
            </option>
          ))}
        </Select>
        <label className="flex min-h-10 items-center gap-2 text-sm">
          <input type="checkbox" checked={faulty} onChange={(event) => setFaulty(event.target.checked)} />
          {t('cues.onlyWrong')}
        </label>
        <p role="status" className="min-h-10 content-center text-sm text-muted">
          {cues.data && t('cues.count', { n: all.length, wrong: wrong.length })}
        </p>
      </div>
      {cues.isPending && <Loading label={t('state.loading')} />}
      {cues.isError && <Trouble error={cues.error} onRetry={() => void cues.refetch()} />}
      <VList
        className="h-[max(18rem,calc(100dvh-31rem))]! outline-offset-[-2px] md:h-[max(20rem,calc(100dvh-28rem))]!"
        tabIndex={0}
        role="region"
        aria-label={t('editor.cues')}
        itemSize={64}
        data={shown}
      >
        {(cue, index) => <CueRow key={index} cue={cue} limit={cues.data?.rules.chars_per_s ?? 0} onGo={onGo} />}
      </VList>
    </div>
  )
}

function CueRow({ cue, limit, onGo }: { cue: Cue; limit: number; onGo: (seconds: number) => void }) {
  const t = useT()
  return (
    <div className={`flex gap-3 border-l-4 px-3 py-2 ${cue.problems.length ? 'border-warn' : 'border-transparent'}`}>
      <div className="shrink-0 font-mono text-sm text-muted tabular-nums">
        <button
          type="button"
          className="block rounded px-1 hover:bg-sunken hover:text-text"
          aria-label={t('reader.goTo', { time: clock(cue.start, true) })}
          onClick={() => onGo(cue.start)}
        >
          {clock(cue.start, true)}
        </button>
        <span className="px-1">{clock(cue.end, true)}</span>
      </div>
      <div className="min-w-0 grow">
        {cue.speaker && <p className="text-sm font-semibold text-accent">{cue.speaker}</p>}
        {cue.lines.map((line, at) => (
          <p key={at} className="break-words">
            {line}
          </p>
        ))}
        <p className="mt-0.5 flex flex-wrap gap-1.5 text-sm text-muted">
          {limit > 0 && t('cues.speed', { n: Math.round(cue.chars_per_s) })}
          {cue.problems.map((one) => (
            <Badge key={one} tone="warn">
              {t(`cues.${one}` as TextKey)}
            </Badge>
          ))}
        </p>
      </div>
    </div>
  )
}
