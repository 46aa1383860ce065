import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { get, post } from '../api/client'
import { type Job, type JobState, type Page, isFinal } from '../api/types'
import { span, when } from '../app/format'
import { Trouble } from '../app/Trouble'
import { useLanguage, useT } from '../i18n'
import { Badge, Button, Dialog, Empty, Loading, Select } from '../ui'
import { JobAction, STATES, StateSelect, nameOf } from '../transcription/JobList'
import { Facts } from '../monitor/Monitor'

const KINDS = ['stt', 'tts', 'translate', 'chat', 'converse', 'training', 'pipeline', 'evaluation', 'deploy']
const PAGE = 40

/** Everybody's jobs. */
export function Jobs() {
  const t = useT()
  const language = useLanguage()
  const [kind, setKind] = useState('')
  const [state, setState] = useState<JobState | ''>('')
  const [opened, setOpened] = useState<string | null>(null)
  const jobs = useInfiniteQuery({
    queryKey: ['jobs', 'all', kind, state],
    queryFn: ({ pageParam, signal }) => {
      const query = new URLSearchParams({ limit: String(PAGE) })
      if (kind) query.set('kind', kind)
      if (state) query.set('state', state)
      if (pageParam) query.set('before', pageParam)
      return get<Page<Job>>(`/jobs?${query}`, signal)
    },
    initialPageParam: '',
    getNextPageParam: (page) => page.next,
    refetchInterval: 4000,
  })
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? []
  return (
    <>
      <div className="mb-3 flex flex-wrap gap-3">
        <Select label={t('admin.kind')} className="w-40" value={kind} onChange={(event) => setKind(event.target.value)}>
          <option value="">{t('jobs.all')}</option>
          {KINDS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </Select>
        <StateSelect label={t('monitor.state')} value={state} onChange={setState} />
      </div>
      {jobs.isPending && <Loading label={t('state.loading')} />}
      {jobs.isError && <Trouble error={jobs.error} onRetry={() => void jobs.refetch()} />}
      {jobs.isSuccess && !items.length && <Empty title={t('jobs.none')} />}
      <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface empty:hidden">
        {items.map((job) => (
          <li key={job.id} className="flex items-center gap-2 pr-2 hover:bg-sunken/50">
            <button type="button" className="min-w-0 grow px-4 py-2.5 text-left" onClick={() => setOpened(job.id)}>
              <span className="flex items-center gap-3">
                <Badge>{job.kind}</Badge>
                <span className="min-w-0 grow truncate">{nameOf(job)}</span>
                <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
              </span>
              <span className="mt-0.5 flex flex-wrap gap-x-3 text-sm text-muted">
                <span>{job.owner}</span>
                <span>{when(job.created_at, language)}</span>
                {job.error?.detail && <span className="text-danger">{job.error.detail}</span>}
              </span>
            </button>
            <JobAction job={job} />
          </li>
        ))}
      </ul>
      {jobs.hasNextPage && (
        <div className="mt-3 text-center">
          <Button onClick={() => void jobs.fetchNextPage()}>{t('jobs.more')}</Button>
        </div>
      )}
      <Dialog open={opened !== null} onClose={() => setOpened(null)} title={t('admin.job')}>
        {opened && <JobDetail id={opened} />}
        <div className="mt-5 text-right">
          <Button onClick={() => setOpened(null)}>{t('action.close')}</Button>
        </div>
      </Dialog>
    </>
  )
}

type Webhook = {
  id: string
  url: string
  state: string
  attempts: number
  tries: { at: string; status: number | null; error: string | null; duration_ms: number }[]
}

function JobDetail({ id }: { id: string }) {
  const t = useT()
  const language = useLanguage()
  const queries = useQueryClient()
  const job = useQuery({ queryKey: ['job', id], queryFn: ({ signal }) => get<Job>(`/jobs/${id}`, signal) })
  const webhooks = useQuery({
    queryKey: ['webhooks', id],
    queryFn: ({ signal }) => get<{ items: Webhook[] }>(`/jobs/${id}/webhooks`, signal),
  })
  const replay = useMutation({
    mutationFn: (webhook: string) => post(`/webhooks/${webhook}/replay`),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['webhooks', id] }),
  })
  if (job.isPending) return <Loading label={t('state.loading')} />
  if (job.isError) return <Trouble error={job.error} />
  const { data } = job
  return (
    <div className="space-y-3">
      <Facts
        rows={[
          ['id', data.id],
          [t('admin.kind'), data.kind],
          [t('monitor.state'), t(STATES[data.state].text)],
          [t('admin.owner'), data.owner],
          [t('admin.queue'), data.priority],
          [t('admin.attempt'), `${data.attempt} / ${data.max_attempts}`],
          [t('monitor.when'), when(data.created_at, language)],
          [t('admin.worked'), data.compute_s ? span(data.compute_s) : null],
          [t('job.queued'), isFinal(data) ? null : data.queue_position],
        ]}
      />
      {data.error && (
        <p className="rounded-lg bg-danger-soft px-3 py-2 text-sm text-danger">{data.error.detail ?? data.error.title}</p>
      )}
      <details>
        <summary className="py-1 text-sm text-muted">{t('admin.payload')}</summary>
        <pre className="max-h-64 overflow-auto rounded-lg bg-sunken p-3 text-xs" tabIndex={0}>
          {JSON.stringify(data.payload, null, 2)}
        </pre>
      </details>
      {(webhooks.data?.items.length ?? 0) > 0 && (
        <div>
          <h3 className="mb-1 font-medium">{t('admin.webhooks')}</h3>
          <ul className="divide-y divide-line rounded-lg border border-line">
            {webhooks.data?.items.map((one) => (
              <li key={one.id} className="px-3 py-2 text-sm">
                <div className="flex items-center gap-2">
                  <span className="min-w-0 grow truncate">{one.url}</span>
                  <Badge tone={one.state === 'delivered' ? 'ok' : one.state === 'pending' ? 'neutral' : 'danger'}>{one.state}</Badge>
                  {one.state !== 'pending' && (
                    <Button disabled={replay.isPending} onClick={() => replay.mutate(one.id)}>
                      {t('admin.replay')}
                    </Button>
                  )}
                </div>
                {one.tries.map((attempt, index) => (
                  <p key={index} className="text-muted">
                    {when(attempt.at, language)} · {attempt.status ?? attempt.error} · {attempt.duration_ms} ms
                  </p>
                ))}
              </li>
            ))}
          </ul>
          {replay.isError && <Trouble error={replay.error} />}
        </div>
      )}
    </div>
  )
}
