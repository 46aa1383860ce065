/** One recording: what was heard, beside its sound. */

import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { Link } from 'wouter'
import { follow } from '../api/events'
import { getKept } from '../api/offline'
import { type Job, type Transcript, isFinal } from '../api/types'
import { clock, span } from '../app/format'
import { languageName } from '../app/languages'
import { Trouble } from '../app/Trouble'
import { queryClient } from '../app/queryClient'
import { useLanguage, useT } from '../i18n'
import { Badge, Card, Empty, Loading, Notice, Progress } from '../ui'
import { Icon } from '../ui/icons'
import { ExportMenu } from './ExportMenu'
import { JobAction, STATES, nameOf } from './JobList'
import { Editor } from './editor/Editor'

export function TranscriptPage({ id }: { id: string }) {
  const t = useT()
  const job = useQuery({ queryKey: ['job', id], queryFn: ({ signal }) => getKept<Job>(`/jobs/${id}`, signal) })
  const running = job.data !== undefined && !isFinal(job.data)
  useEffect(() => {
    if (!running) return
    const leaving = new AbortController()
    follow(`/jobs/${id}/events`, (_, data) => queryClient.setQueryData(['job', id], data), leaving.signal).catch(
      () => undefined,
    )
    return () => leaving.abort()
  }, [id, running])

  return (
    <>
      <Link
        href="/transcription"
        className="mb-2 inline-flex items-center gap-1 rounded-lg py-1 pr-2 text-sm text-muted hover:text-text"
      >
        <Icon name="back" className="size-4" />
        {t('nav.transcription')}
      </Link>
      {job.isPending && <Loading label={t('state.loading')} />}
      {job.isError && <Trouble error={job.error} onRetry={() => void job.refetch()} />}
      {job.data && <Opened job={job.data} />}
    </>
  )
}

function Opened({ job }: { job: Job }) {
  const t = useT()
  return (
    <>
      <div className="mb-3 flex flex-wrap items-center gap-x-3 gap-y-2">
        <h1 className="min-w-0 grow text-xl font-semibold break-words">{nameOf(job)}</h1>
        {job.state !== 'succeeded' && <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>}
        <JobAction job={job} />
        {job.state === 'succeeded' && <ExportMenu jobId={job.id} name={nameOf(job)} />}
      </div>
      {!isFinal(job) && <Waiting job={job} />}
      {job.state === 'failed' && (
        <Notice tone="danger">
          <span>
            <strong className="block">{job.error?.title}</strong>
            {job.error?.detail}
          </span>
        </Notice>
      )}
      {job.state === 'cancelled' && <Notice tone="warn">{t('job.wasCancelled')}</Notice>}
      {job.state === 'succeeded' && <Finished job={job} />}
    </>
  )
}

function Waiting({ job }: { job: Job }) {
  const t = useT()
  const share = job.progress.total ? job.progress.done / job.progress.total : null
  return (
    <Card>
      <p className="mb-2" role="status">
        {job.state === 'queued' && job.queue_position ? t('job.place', { n: job.queue_position }) : t('job.running')}
        {job.eta_s !== null && ` · ${t('job.eta', { time: span(job.eta_s) })}`}
      </p>
      <Progress value={job.state === 'queued' ? null : share} label={nameOf(job)} />
    </Card>
  )
}

function Finished({ job }: { job: Job }) {
  const t = useT()
  const language = useLanguage()
  const transcript = useQuery({
    queryKey: ['transcript', job.id],
    queryFn: ({ signal }) => getKept<Transcript>(`/transcripts/${job.id}`, signal),
    staleTime: Number.POSITIVE_INFINITY,
  })
  if (transcript.isPending) return <Loading label={t('state.loading')} />
  if (transcript.isError) return <Trouble error={transcript.error} onRetry={() => void transcript.refetch()} />
  const { data } = transcript
  return (
    <>
      <p className="mb-3 flex flex-wrap gap-x-4 gap-y-1 text-sm text-muted">
        {data.language && <span>{languageName(data.language, language)}</span>}
        <span>{clock(data.duration)}</span>
        {data.confidence !== null && <span>{t('transcript.confidence', { n: Math.round(data.confidence * 100) })}</span>}
        <span>{data.model}</span>
      </p>
      {data.warnings.length > 0 && (
        <div className="mb-3">
          <Notice tone="warn">
            <ul>
              {data.warnings.map((warning) => (
                <li key={warning}>{warning}</li>
              ))}
            </ul>
          </Notice>
        </div>
      )}
      {data.segments.length ? (
        <Editor job={job} transcript={data} />
      ) : (
        <Empty title={t('transcript.silent')}>{t('transcript.silentHint')}</Empty>
      )}
    </>
  )
}
