import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { get, post, remove } from '../api/client'
import { getKept } from '../api/offline'
import { type Job, type JobState, type Page, isFinal } from '../api/types'
import { clock, span, when } from '../app/format'
import { useMay } from '../app/session'
import { Trouble } from '../app/Trouble'
import { type TextKey, useLanguage, useT } from '../i18n'
import { Badge, Button, Empty, IconButton, Loading, Progress, Select } from '../ui'
import { Icon } from '../ui/icons'

const PAGE = 30
const LOOK_MS = 2000
/** Of the jobs that wait, so many are asked for their place one by one; one stream for all of a key comes later. */
const WATCHED = 12

export const STATES: Record<JobState, { text: TextKey; tone: 'neutral' | 'accent' | 'ok' | 'warn' | 'danger' }> = {
  queued: { text: 'job.queued', tone: 'neutral' },
  running: { text: 'job.running', tone: 'accent' },
  succeeded: { text: 'job.succeeded', tone: 'ok' },
  failed: { text: 'job.failed', tone: 'danger' },
  cancelled: { text: 'job.cancelled', tone: 'warn' },
}

export const nameOf = (job: Job): string =>
  job.payload.source?.name ?? job.payload.name ?? job.payload.text?.slice(0, 80) ?? job.id

/** The transcriptions of this key, the newest first. */
export function JobList() {
  const t = useT()
  const [state, setState] = useState<JobState | ''>('')
  const jobs = useInfiniteQuery({
    queryKey: ['jobs', 'stt', state],
    queryFn: ({ pageParam, signal }) =>
      getKept<Page<Job>>(
        `/jobs?kind=stt&limit=${PAGE}${state && `&state=${state}`}${pageParam && `&before=${pageParam}`}`,
        signal,
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some((job) => !isFinal(job))) ? LOOK_MS * 2 : false,
  })
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? []
  const watched = new Set(items.filter((job) => !isFinal(job)).slice(-WATCHED).map((job) => job.id))
  return (
    <section aria-labelledby="jobs-title">
      <div className="mb-2 flex items-end justify-between gap-3">
        <h2 id="jobs-title" className="text-sm font-semibold text-muted">
          {t('jobs.title')}
        </h2>
        <StateSelect label={t('jobs.filter')} hideLabel value={state} onChange={setState} />
      </div>
      {jobs.isPending && <Loading label={t('state.loading')} />}
      {jobs.isError && <Trouble error={jobs.error} onRetry={() => void jobs.refetch()} />}
      {jobs.isSuccess && !items.length && <Empty title={t('jobs.none')}>{t('jobs.noneHint')}</Empty>}
      {items.length > 0 && (
        <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface">
          {items.map((job) => (
            <JobRow key={job.id} job={job} watched={watched.has(job.id)} />
          ))}
        </ul>
      )}
      {jobs.hasNextPage && (
        <div className="mt-3 text-center">
          <Button onClick={() => void jobs.fetchNextPage()} disabled={jobs.isFetchingNextPage}>
            {t('jobs.more')}
          </Button>
        </div>
      )}
    </section>
  )
}

type StateSelectProps = { label: string; hideLabel?: boolean; value: JobState | ''; onChange: (state: JobState | '') => void }

/** Which jobs a list shows. */
export function StateSelect({ onChange, ...rest }: StateSelectProps) {
  const t = useT()
  return (
    <Select {...rest} className="w-40" onChange={(event) => onChange(event.target.value as JobState | '')}>
      <option value="">{t('jobs.all')}</option>
      {(Object.keys(STATES) as JobState[]).map((one) => (
        <option key={one} value={one}>
          {t(STATES[one].text)}
        </option>
      ))}
    </Select>
  )
}

function JobRow({ job: listed, watched }: { job: Job; watched: boolean }) {
  const t = useT()
  const language = useLanguage()
  const one = useQuery({
    queryKey: ['job', listed.id],
    queryFn: ({ signal }) => get<Job>(`/jobs/${listed.id}`, signal),
    enabled: watched,
    refetchInterval: (query) => (query.state.data && isFinal(query.state.data) ? false : LOOK_MS),
  })
  const job = watched && one.data ? one.data : listed
  const share = job.progress.total ? job.progress.done / job.progress.total : null
  return (
    <li className="flex items-center gap-1 pr-2 hover:bg-sunken/50">
      <Link href={`/transcription/${job.id}`} className="min-w-0 grow px-4 py-3">
        <span className="flex items-center gap-3">
          <span className="min-w-0 grow truncate font-medium">{nameOf(job)}</span>
          <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
        </span>
        <span className="mt-0.5 flex flex-wrap gap-x-3 text-sm text-muted">
          <span>{when(job.created_at, language)}</span>
          {job.audio_s !== null && <span>{clock(job.audio_s)}</span>}
          {job.state === 'queued' && job.queue_position !== null && (
            <span>{t('job.place', { n: job.queue_position })}</span>
          )}
          {!isFinal(job) && job.eta_s !== null && <span>{t('job.eta', { time: span(job.eta_s) })}</span>}
          {job.state === 'failed' && <span className="text-danger">{job.error?.detail}</span>}
          {job.state === 'succeeded' && <span className="min-w-0 basis-full truncate">{String(job.result?.text ?? '')}</span>}
        </span>
        {job.state === 'running' && (
          <span className="mt-2 block">
            <Progress value={share} label={nameOf(job)} />
          </span>
        )}
      </Link>
      <JobAction job={job} />
    </li>
  )
}

/** Cancel what has not ended; try again what failed. */
export function JobAction({ job }: { job: Job }) {
  const t = useT()
  const may = useMay('write')
  const queries = useQueryClient()
  const act = useMutation({
    mutationFn: () => (isFinal(job) ? post(`/jobs/${job.id}/retry`) : remove(`/jobs/${job.id}`)),
    onSettled: () => {
      void queries.invalidateQueries({ queryKey: ['jobs'] })
      void queries.invalidateQueries({ queryKey: ['job', job.id] })
    },
  })
  if (!may || job.state === 'succeeded') return null
  return (
    <IconButton
      label={t(isFinal(job) ? 'job.retry' : 'job.cancel', { name: nameOf(job) })}
      disabled={act.isPending}
      onClick={() => act.mutate()}
    >
      <Icon name={isFinal(job) ? 'retry' : 'close'} />
    </IconButton>
  )
}
