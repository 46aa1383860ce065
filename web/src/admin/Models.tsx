import { useQuery } from '@tanstack/react-query'
import { get } from '../api/client'
import type { Model } from '../api/types'
import { size } from '../app/format'
import { RollBack } from '../app/RollBack'
import { Trouble } from '../app/Trouble'
import { useT } from '../i18n'
import { Badge, Loading } from '../ui'

/** The models of this machine, what serves, and the way back to the version before. */
export function Models() {
  const t = useT()
  const models = useQuery({ queryKey: ['models'], queryFn: ({ signal }) => get<{ items: Model[] }>('/models', signal) })
  return (
    <>
      {models.isPending && <Loading label={t('state.loading')} />}
      {models.isError && <Trouble error={models.error} onRetry={() => void models.refetch()} />}
      <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface empty:hidden">
        {models.data?.items.map((model) => (
          <li key={model.name} className="flex flex-wrap items-center gap-3 px-4 py-3">
            <span className="min-w-0 grow basis-56">
              <span className="block font-medium break-words">{model.name}</span>
              <span className="block text-sm break-words text-muted">
                {[
                  model.type,
                  model.weights_bytes ? size(model.weights_bytes) : null,
                  model.languages?.slice(0, 6).join(', '),
                  model.current && t('models.version', { version: model.current }),
                ]
                  .filter(Boolean)
                  .join(' · ')}
              </span>
              {model.problem && <span className="block text-sm text-danger">{model.problem}</span>}
            </span>
            {model.use && <Badge>{model.use}</Badge>}
            {model.default && <Badge tone="accent">{t('models.serves')}</Badge>}
            <Badge tone={model.available ? 'ok' : 'danger'}>{t(model.available ? 'health.ok' : 'health.bad')}</Badge>
            {model.versions.length > 1 && <RollBack model={model} />}
          </li>
        ))}
      </ul>
    </>
  )
}
