/** What a training hears or says on the way: rates with their interval, texts with their differences, samples. */

import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { get, send } from '../api/client'
import type { components } from '../api/schema'
import { Trouble } from '../app/Trouble'
import { useT } from '../i18n'
import { Button, Card, Loading } from '../ui'
import { Icon } from '../ui/icons'
import { type Part, differences } from './differences'

type Preview = components['schemas']['Preview']

const LOOK_MS = 5000
const LOOKS: Record<Part['kind'], string> = {
  same: '',
  missing: 'text-danger line-through decoration-2',
  added: 'rounded-sm bg-warn-soft text-warn underline',
}
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

export function Previews({ id, running }: { id: string; running: boolean }) {
  const t = useT()
  const previews = useQuery({
    queryKey: ['previews', id],
    queryFn: ({ signal }) => get<{ items: Preview[] }>(`/trainings/${id}/previews`, signal),
    refetchInterval: running ? LOOK_MS : false,
  })
  if (previews.isError) return <Trouble error={previews.error} onRetry={() => void previews.refetch()} />
  const items = previews.data?.items ?? []
  if (!items.length) return null
  return (
    <section className="mt-4" aria-labelledby="previews-title">
      <h2 id="previews-title" className="mb-2 text-sm font-semibold text-muted">
        {t('previews.title')}
      </h2>
      <div className="space-y-3">
        {items.map((one) => (
          <Card key={one.step}>
            <h3 className="flex flex-wrap items-center gap-x-3 font-medium">
              {t('previews.step', { n: one.step })}
              {one.wer != null && <span className="text-sm tabular-nums">WER {percent(one.wer)}</span>}
              {one.interval && (
                <span className="text-sm text-muted tabular-nums">
                  {t('previews.interval', { low: percent(one.interval.low), high: percent(one.interval.high) })}
                </span>
              )}
              {one.spoken && <Sample id={id} step={one.step} />}
            </h3>
            {one.rows.length > 0 && (
              <ul className="mt-2 space-y-1.5">
                {one.rows.map((row, at) => (
                  <li key={at} className="break-words">
                    {row.source && <span className="block text-sm text-muted">{row.source}</span>}
                    {differences(row.ref, row.hyp).map((part, word) => (
                      <span key={word}>
                        {word > 0 && ' '}
                        <Word part={part} />
                      </span>
                    ))}
                  </li>
                ))}
              </ul>
            )}
          </Card>
        ))}
      </div>
      <p className="mt-2 text-sm text-muted">{t('previews.hint')}</p>
    </section>
  )
}

function Word({ part }: { part: Part }) {
  if (part.kind === 'missing') return <del className={LOOKS.missing}>{part.text}</del>
  return part.kind === 'added' ? <ins className={LOOKS.added}>{part.text}</ins> : part.text
}

/** Fetched when it is asked for: a few seconds of sound. */
function Sample({ id, step }: { id: string; step: number }) {
  const t = useT()
  const [url, setUrl] = useState<string | null>(null)
  const [asked, setAsked] = useState<'no' | 'loading' | 'failed'>('no')
  useEffect(() => () => void (url && URL.revokeObjectURL(url)), [url])
  async function load() {
    setAsked('loading')
    try {
      const answer = await send(`/trainings/${id}/samples/${step}`, { headers: { Accept: 'audio/wav' } })
      setUrl(URL.createObjectURL(await answer.blob()))
    } catch {
      setAsked('failed')
    }
  }
  // made by the page itself a moment after a click, so that it may be heard
  if (url) return <audio controls autoPlay src={url} className="h-9" aria-label={t('previews.hear', { n: step })} />
  if (asked === 'loading') return <Loading label={t('state.loading')} />
  return (
    <Button onClick={() => void load()} aria-label={t('previews.hear', { n: step })}>
      <Icon name="play" className="size-4" />
      {t(asked === 'failed' ? 'trouble.broken' : 'player.play')}
    </Button>
  )
}
