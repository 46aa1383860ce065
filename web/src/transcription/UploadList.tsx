import { size } from '../app/format'
import { sentenceOf } from '../app/Trouble'
import { useT } from '../i18n'
import { Badge, Button, IconButton, Progress } from '../ui'
import { Icon } from '../ui/icons'
import { useUploads } from './uploads'

/** What is on its way. */
export function UploadList() {
  const t = useT()
  const { items, retry, remove } = useUploads()
  if (!items.length) return null
  return (
    <section className="mb-6" aria-label={t('upload.title')}>
      <h2 className="mb-2 text-sm font-semibold text-muted">{t('upload.title')}</h2>
      <ul className="divide-y divide-line rounded-xl border border-line bg-surface">
        {items.slice(0, 50).map((one) => (
          <li key={one.id} className="flex items-center gap-3 px-4 py-2.5">
            <div className="min-w-0 grow">
              <p className="truncate">{one.name}</p>
              {one.state === 'failed' ? (
                <p className="text-sm text-danger">{t(sentenceOf(one.error))}</p>
              ) : (
                <div className="mt-1.5">
                  <Progress value={one.state === 'waiting' ? 0 : one.share} label={one.name} />
                </div>
              )}
            </div>
            <span className="shrink-0 text-sm text-muted">{one.size > 0 && size(one.size)}</span>
            {one.state === 'sent' && <Badge tone="ok">{t('upload.sent')}</Badge>}
            {one.state === 'failed' && <Button onClick={() => retry(one.id)}>{t('action.retry')}</Button>}
            {one.state !== 'sent' && one.state !== 'sending' && (
              <IconButton label={t('upload.remove', { name: one.name })} onClick={() => remove(one.id)}>
                <Icon name="close" />
              </IconButton>
            )}
          </li>
        ))}
      </ul>
      {items.length > 50 && <p className="mt-2 text-sm text-muted">{t('upload.more', { n: items.length - 50 })}</p>}
    </section>
  )
}
