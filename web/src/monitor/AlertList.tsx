import { when } from '../app/format'
import { useLanguage, useT } from '../i18n'
import { Badge, Notice } from '../ui'
import type { Alert } from './types'

/** What is wrong now, and what it means; a line when nothing is. */
export function AlertList({ alerts }: { alerts: Alert[] }) {
  const t = useT()
  const language = useLanguage()
  const active = alerts.filter((alert) => alert.active)
  if (!active.length) return <Notice tone="ok">{t('alerts.none', { n: alerts.length })}</Notice>
  return (
    <ul className="space-y-2" aria-label={t('alerts.title')}>
      {active.map((alert) => (
        <li key={alert.name}>
          <Notice tone={alert.level === 'critical' ? 'danger' : 'warn'}>
            <span className="min-w-0 grow">
              <strong className="block font-semibold">{alert.name}</strong>
              {alert.means} <span className="text-sm">{`(${alert.field} ${alert.threshold})`}</span>
            </span>
            {alert.since && <Badge>{when(alert.since, language)}</Badge>}
          </Notice>
        </li>
      ))}
    </ul>
  )
}
