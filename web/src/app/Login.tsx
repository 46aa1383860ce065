import { type FormEvent, useState } from 'react'
import { useT } from '../i18n'
import { Button, FIELD, Field, Notice } from '../ui'
import { Choices } from './Choices'
import { useSession } from './session'
import { Trouble } from './Trouble'

/** Asks for a key. It goes into a header, never into a URL, and stays on the device only if asked. */
export function Login() {
  const t = useT()
  const { signIn, ended, trouble } = useSession()
  const [key, setKey] = useState('')
  const [remember, setRemember] = useState(false)
  const [error, setError] = useState<unknown>(trouble)
  const [busy, setBusy] = useState(false)

  async function submit(event: FormEvent) {
    event.preventDefault()
    setBusy(true)
    setError(null)
    await signIn(key.trim(), remember).catch(setError)
    setBusy(false)
  }

  return (
    <div className="mx-auto flex min-h-dvh max-w-md flex-col px-4 py-6">
      <header className="flex justify-end">
        <Choices />
      </header>
      <main className="my-auto py-8">
        <img src="/icons/icon.svg" alt="" className="mb-5 size-14" />
        <h1 className="text-3xl font-semibold tracking-tight">Milo</h1>
        <p className="mt-1 mb-6 text-muted">{t('login.welcome')}</p>
        {ended && !error && (
          <div className="mb-4">
            <Notice tone="warn">{t('login.ended')}</Notice>
          </div>
        )}
        <form onSubmit={submit} className="space-y-4">
          <Field label={t('login.key')} hint={t('login.hint')}>
            <input
              className={FIELD}
              type="password"
              name="milo-key"
              autoComplete="current-password"
              spellCheck={false}
              required
              value={key}
              onChange={(event) => setKey(event.target.value)}
            />
          </Field>
          <label className="flex items-start gap-2.5 py-1">
            <input
              type="checkbox"
              className="mt-1 size-4 accent-accent"
              checked={remember}
              onChange={(event) => setRemember(event.target.checked)}
            />
            <span>
              {t('login.remember')}
              <span className="block text-sm text-muted">{t('login.rememberHint')}</span>
            </span>
          </label>
          {error !== null && <Trouble error={error} />}
          <Button look="primary" type="submit" className="w-full" disabled={busy || !key.trim()}>
            {busy ? t('state.checking') : t('login.open')}
          </Button>
        </form>
      </main>
    </div>
  )
}
