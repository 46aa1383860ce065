/** What was deployed, what was refused and why; and the way back to the version before. */

import { useQuery } from '@tanstack/react-query'
import { get } from '../api/client'
import type { Job, Model, Page } from '../api/types'
import { when } from '../app/format'
import { RollBack } from '../app/RollBack'
import { useMay } from '../app/session'
import { useLanguage, useT } from '../i18n'
import { Badge } from '../ui'
import { STATES } from '../transcription/JobList'

const LOOK_MS = 10_000

export function Deploys() {
  const t = useT()
  const language = useLanguage()
  const may = useMay('admin')
  const deploys = useQuery({
    queryKey: ['jobs', 'deploy'],
    queryFn: ({ signal }) => get<Page<Job>>('/jobs?kind=deploy&limit=10', signal),
    refetchInterval: LOOK_MS,
  })
  const models = useQuery({ queryKey: ['models'], queryFn: ({ signal }) => get<{ items: Model[] }>('/models', signal) })
  const items = deploys.data?.items ?? []
  const versioned = models.data?.items.filter((model) => model.versions.length > 1) ?? []
  if (!items.length && !versioned.length) return null
  return (
    <section aria-labelledby="deploys-title">
      <h2 id="deploys-title" className="mb-2 text-sm font-semibold text-muted">
        {t('deploys.title')}
      </h2>
      <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface">
        {versioned.map((model) => (
          <li key={model.name} className="flex flex-wrap items-center gap-3 px-4 py-3">
            <span className="min-w-0 grow font-medium break-words">{model.name}</span>
            {model.current && <Badge tone="accent">{t('models.version', { version: model.current })}</Badge>}
            {may && <RollBack model={model} />}
          </li>
        ))}
        {items.map((job) => (
          <li key={job.id} className="px-4 py-3">
            <span className="flex items-center gap-3">
              <span className="min-w-0 grow truncate">{String(job.payload.model ?? job.id)}</span>
              <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
            </span>
            <span className="flex flex-wrap gap-x-3 text-sm text-muted">
              <span>{when(job.created_at, language)}</span>
              {job.result?.version !== undefined && (
                <span>{t('models.version', { version: String(job.result.version) })}</span>
              )}
              {job.error?.detail && <span className="text-danger">{job.error.detail}</span>}
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
