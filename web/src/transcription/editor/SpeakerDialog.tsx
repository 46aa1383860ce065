/** Who speaks: naming one passage or many, renaming everywhere, making one of two. */

import { useId, useMemo, useState } from 'react'
import type { Segment } from '../../api/types'
import { useT } from '../../i18n'
import { Button, Dialog, FIELD, Field, Select } from '../../ui'
import type { Operation } from './operations'

type Props = {
  open: boolean
  onClose: () => void
  segments: readonly Segment[]
  /** The place of the passage that was chosen; -1: none. */
  at: number
  mayEdit: boolean
  edit: (...operations: Operation[]) => void
}

export function SpeakerDialog({ open, onClose, ...rest }: Props) {
  const t = useT()
  return (
    <Dialog open={open} onClose={onClose} title={t('editor.speakers')}>
      {open && <Speakers {...rest} onClose={onClose} />}
    </Dialog>
  )
}

export type Reach = 'one' | 'turn' | 'rest'

/** The passages that are meant: this one, those before and behind it that the same person says, or all of that person's from here on. */
export function meant(segments: readonly Segment[], at: number, reach: Reach): number[] {
  const speaker = segments[at]?.speaker ?? null
  const same = (place: number) => segments[place] !== undefined && (segments[place]?.speaker ?? null) === speaker
  if (reach === 'rest') return segments.flatMap((one, place) => (place >= at && same(place) ? [one.id] : []))
  let [from, to] = [at, at]
  while (reach === 'turn' && same(from - 1)) from--
  while (reach === 'turn' && same(to + 1)) to++
  return segments.slice(from, to + 1).map(({ id }) => id)
}

function Speakers({ segments, at, mayEdit, edit, onClose }: Omit<Props, 'open'>) {
  const t = useT()
  const names = useId()
  const current = segments[at]
  const [name, setName] = useState(current?.speaker ?? '')
  const [reach, setReach] = useState<Reach>('turn')
  const speakers = useMemo(() => {
    const count = new Map<string, number>()
    for (const { speaker } of segments) if (speaker) count.set(speaker, (count.get(speaker) ?? 0) + 1)
    return [...count]
  }, [segments])

  return (
    <>
      {mayEdit && current && (
        <form
          className="mb-5 grid gap-3"
          onSubmit={(event) => {
            event.preventDefault()
            edit({ op: 'speaker', segments: meant(segments, at, reach), speaker: name.trim() || null })
            onClose()
          }}
        >
          <Field label={t('speakers.whoSays', { text: current.text.slice(0, 60) })}>
            <input className={FIELD} list={names} maxLength={200} value={name} onChange={(event) => setName(event.target.value)} />
          </Field>
          <datalist id={names}>
            {speakers.map(([one]) => (
              <option key={one} value={one} />
            ))}
          </datalist>
          <Select label={t('speakers.reach')} value={reach} onChange={(event) => setReach(event.target.value as Reach)}>
            <option value="one">{t('speakers.one')}</option>
            <option value="turn">{t('speakers.turn')}</option>
            <option value="rest">{t('speakers.rest')}</option>
          </Select>
          <div className="text-right">
            <Button type="submit" look="primary">
              {t('action.apply')}
            </Button>
          </div>
        </form>
      )}
      <h3 className="mb-2 font-semibold">{t('speakers.all')}</h3>
      {!speakers.length && <p className="text-muted">{t('speakers.none')}</p>}
      <ul className="grid gap-2">
        {speakers.map(([one, passages]) => (
          <Speaker
            key={one}
            name={one}
            passages={passages}
            others={speakers.map(([other]) => other)}
            onRename={mayEdit ? (to) => edit({ op: 'rename_speaker', speaker: one, to }) : undefined}
          />
        ))}
      </ul>
      <div className="mt-5 text-right">
        <Button onClick={onClose}>{t('action.close')}</Button>
      </div>
    </>
  )
}

type SpeakerProps = { name: string; passages: number; others: string[]; onRename?: (to: string) => void }

function Speaker({ name, passages, others, onRename }: SpeakerProps) {
  const t = useT()
  const [to, setTo] = useState(name)
  const wanted = to.trim()
  const merges = wanted !== name && others.includes(wanted)
  return (
    <li>
      <form
        className="flex flex-wrap items-center gap-2"
        onSubmit={(event) => {
          event.preventDefault()
          if (wanted && wanted !== name) onRename?.(wanted)
        }}
      >
        <input
          className={`${FIELD} min-w-32 grow basis-32`}
          aria-label={t('speakers.name', { name })}
          maxLength={200}
          value={to}
          readOnly={!onRename}
          onChange={(event) => setTo(event.target.value)}
        />
        <span className="text-sm text-muted">{t('speakers.passages', { n: passages })}</span>
        {onRename && (
          <Button type="submit" disabled={!wanted || wanted === name}>
            {t(merges ? 'speakers.merge' : 'speakers.rename')}
          </Button>
        )}
      </form>
    </li>
  )
}
