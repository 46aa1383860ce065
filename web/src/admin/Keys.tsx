import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { type FormEvent, useState } from 'react'
import { get, post, remove } from '../api/client'
import { when } from '../app/format'
import type { Scope } from '../app/session'
import { Trouble } from '../app/Trouble'
import { useLanguage, useT } from '../i18n'
import { Badge, Button, Card, Dialog, FIELD, Field, Loading, Notice } from '../ui'

type Key = {
  id: string
  name: string
  scopes: Scope[]
  created_at: string
  expires_at: string | null
  revoked_at: string | null
}
type NewKey = Key & { secret: string }
const SCOPES: Scope[] = ['read', 'write', 'admin']

export function Keys() {
  const t = useT()
  const language = useLanguage()
  const queries = useQueryClient()
  const [made, setMade] = useState<NewKey | null>(null)
  const [revoking, setRevoking] = useState<Key | null>(null)
  const keys = useQuery({ queryKey: ['keys'], queryFn: ({ signal }) => get<{ items: Key[] }>('/keys', signal) })
  const revoke = useMutation({
    mutationFn: (id: string) => remove(`/keys/${id}`),
    onSuccess: () => setRevoking(null),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['keys'] }),
  })
  return (
    <div className="grid items-start gap-4 lg:grid-cols-[1fr_20rem]">
      <div>
        {keys.isPending && <Loading label={t('state.loading')} />}
        {keys.isError && <Trouble error={keys.error} onRetry={() => void keys.refetch()} />}
        {keys.isSuccess && !keys.data.items.length && <p className="py-6 text-center text-muted">{t('keys.none')}</p>}
        <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface empty:hidden">
          {keys.data?.items.map((key) => (
            <li key={key.id} className="flex flex-wrap items-center gap-3 px-4 py-2.5">
              <span className="min-w-0 grow">
                <span className="block truncate font-medium">{key.name}</span>
                <span className="text-sm text-muted">
                  {when(key.created_at, language)}
                  {key.expires_at && ` · ${t('keys.until', { time: when(key.expires_at, language) })}`}
                </span>
              </span>
              {key.scopes.map((scope) => (
                <Badge key={scope}>{scope}</Badge>
              ))}
              {key.revoked_at ? (
                <Badge tone="danger">{t('keys.revoked')}</Badge>
              ) : (
                <Button look="danger" aria-label={t('keys.revokeOne', { name: key.name })} onClick={() => setRevoking(key)}>
                  {t('keys.revoke')}
                </Button>
              )}
            </li>
          ))}
        </ul>
      </div>
      <MakeKey
        onMade={(key) => {
          setMade(key)
          void queries.invalidateQueries({ queryKey: ['keys'] })
        }}
      />
      <Dialog open={made !== null} onClose={() => setMade(null)} title={t('keys.made')}>
        <Notice tone="warn">{t('keys.once')}</Notice>
        <input
          readOnly
          aria-label={t('keys.made')}
          className={`${FIELD} mt-3 font-mono`}
          value={made?.secret ?? ''}
          onFocus={(event) => event.target.select()}
        />
        <div className="mt-5 flex justify-end gap-2">
          <Button onClick={() => void navigator.clipboard?.writeText(made?.secret ?? '')}>{t('keys.copy')}</Button>
          <Button look="primary" onClick={() => setMade(null)}>
            {t('action.close')}
          </Button>
        </div>
      </Dialog>
      <Dialog open={revoking !== null} onClose={() => setRevoking(null)} title={t('keys.revokeOne', { name: revoking?.name ?? '' })}>
        <p>{t('keys.revokeHint')}</p>
        {revoke.isError && <Trouble error={revoke.error} />}
        <div className="mt-5 flex justify-end gap-2">
          <Button onClick={() => setRevoking(null)}>{t('action.cancel')}</Button>
          <Button look="danger" disabled={revoke.isPending} onClick={() => revoking && revoke.mutate(revoking.id)}>
            {t('keys.revoke')}
          </Button>
        </div>
      </Dialog>
    </div>
  )
}

function MakeKey({ onMade }: { onMade: (key: NewKey) => void }) {
  const t = useT()
  const [name, setName] = useState('')
  const [scopes, setScopes] = useState<Scope[]>(['read', 'write'])
  const make = useMutation({
    mutationFn: () => post<NewKey>('/keys', { name: name.trim(), scopes }),
    onSuccess(key) {
      setName('')
      onMade(key)
    },
  })
  return (
    <Card>
      <form
        className="space-y-3"
        onSubmit={(event: FormEvent) => {
          event.preventDefault()
          make.mutate()
        }}
      >
        <h2 className="font-semibold">{t('keys.make')}</h2>
        <Field label={t('keys.name')}>
          <input className={FIELD} required value={name} onChange={(event) => setName(event.target.value)} />
        </Field>
        <fieldset className="flex gap-4">
          <legend className="mb-1 text-sm font-medium">{t('keys.scopes')}</legend>
          {SCOPES.map((scope) => (
            <label key={scope} className="flex min-h-8 items-center gap-2">
              <input
                type="checkbox"
                className="size-4 accent-accent"
                checked={scopes.includes(scope)}
                onChange={(event) =>
                  setScopes(event.target.checked ? [...scopes, scope] : scopes.filter((one) => one !== scope))
                }
              />
              {scope}
            </label>
          ))}
        </fieldset>
        {make.isError && <Trouble error={make.error} />}
        <Button look="primary" type="submit" disabled={make.isPending || !name.trim() || !scopes.length}>
          {t('keys.make')}
        </Button>
      </form>
    </Card>
  )
}
