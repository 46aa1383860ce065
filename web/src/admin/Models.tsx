import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { get, post } from '../api/client'
import type { Model } from '../api/types'
import { size } from '../app/format'
import { Trouble } from '../app/Trouble'
import { useT } from '../i18n'
import { Badge, Button, Dialog, Loading } from '../ui'

/** The models of this machine, what serves, and the way back to the version before. */
export function Models() {
  const t = useT()
  const queries = useQueryClient()
  const [asked, setAsked] = useState<Model | null>(null)
  const models = useQuery({ queryKey: ['models'], queryFn: ({ signal }) => get<{ items: Model[] }>('/models', signal) })
  const back = useMutation({
    mutationFn: (name: string) => post(`/models/${name}/rollback`),
    onSuccess: () => setAsked(null),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['models'] }),
  })
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
            {model.versions.length > 1 && (
              <Button onClick={() => setAsked(model)}>{t('models.back')}</Button>
            )}
          </li>
        ))}
      </ul>
      <Dialog open={asked !== null} onClose={() => setAsked(null)} title={t('models.back')}>
        <p>{t('models.backHint', { name: asked?.name ?? '' })}</p>
        {back.isError && <Trouble error={back.error} />}
        <div className="mt-5 flex justify-end gap-2">
          <Button onClick={() => setAsked(null)}>{t('action.cancel')}</Button>
          <Button look="danger" disabled={back.isPending} onClick={() => asked && back.mutate(asked.name)}>
            {t('models.back')}
          </Button>
        </div>
      </Dialog>
    </>
  )
}
