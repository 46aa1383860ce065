import { useT } from '../../i18n'
import { Button, Dialog } from '../../ui'
import { KEYS, KEYS_IN_TEXT } from '../keys'

type Line = { shown: readonly string[]; text: Parameters<ReturnType<typeof useT>>[0] }

/** Every key and what it does. */
export function KeysDialog({ open, onClose }: { open: boolean; onClose: () => void }) {
  const t = useT()
  return (
    <Dialog open={open} onClose={onClose} title={t('reader.keys')}>
      <Keys lines={KEYS} />
      <h3 className="mt-4 mb-2 font-semibold">{t('keys.inText')}</h3>
      <Keys lines={KEYS_IN_TEXT} />
      <div className="mt-5 text-right">
        <Button onClick={onClose}>{t('action.close')}</Button>
      </div>
    </Dialog>
  )
}

function Keys({ lines }: { lines: readonly Line[] }) {
  const t = useT()
  return (
    <dl className="grid grid-cols-[auto_1fr] items-center gap-x-4 gap-y-2">
      {lines.map((one) => (
        <div key={one.shown.join()} className="contents">
          <dt className="justify-self-end">
            {one.shown.map((key) => (
              <kbd key={key} className="ml-1 rounded border border-edge bg-sunken px-1.5 py-0.5 font-mono text-sm">
                {key}
              </kbd>
            ))}
          </dt>
          <dd>{t(one.text)}</dd>
        </div>
      ))}
    </dl>
  )
}
