/** Two people changed one passage: both texts, what differs between them, and a choice. Nothing is lost before it is made. */

import { useState } from 'react'
import { when } from '../../app/format'
import { useLanguage, useT } from '../../i18n'
import { Button, Dialog, FIELD } from '../../ui'
import type { Conflict } from './conflicts'
import { common, wordsOf } from './operations'

type Props = { conflicts: readonly Conflict[]; onChoose: (texts: (string | null)[]) => void }

export function ConflictDialog({ conflicts, onChoose }: Props) {
  const t = useT()
  const [put, setPut] = useState(false) // aside; the edits wait
  if (!conflicts.length) return null
  if (put) {
    return (
      <div className="border-t border-line p-2">
        <Button look="primary" onClick={() => setPut(false)}>
          {t('conflict.title')}
        </Button>
      </div>
    )
  }
  return (
    <Dialog open onClose={() => setPut(true)} title={t('conflict.title')}>
      <Choices key={JSON.stringify(conflicts.map((one) => one.segments))} conflicts={conflicts} onChoose={onChoose} />
    </Dialog>
  )
}

const theirText = (one: Conflict): string | null =>
  one.theirs.length ? one.theirs.map(({ text }) => text).join(' ') : null

function Choices({ conflicts, onChoose }: Props) {
  const t = useT()
  const language = useLanguage()
  const [texts, setTexts] = useState<(string | null)[]>(() => conflicts.map((one) => one.mine))
  const set = (at: number, text: string | null) => setTexts((now) => now.map((one, place) => (place === at ? text : one)))
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        onChoose(texts.map((one) => one?.trim().replace(/\s+/g, ' ') || null))
      }}
    >
      <p className="mb-3 text-muted">{t('conflict.hint')}</p>
      <ol className="grid gap-5">
        {conflicts.map((one, at) => {
          const theirs = theirText(one)
          return (
            <li key={one.segments.join()} className="grid gap-2">
              <Version title={t('conflict.theirs', { who: one.author || '…', when: when(one.at, language) })} text={theirs} beside={one.mine} />
              <Version title={t('conflict.mine')} text={one.mine} beside={theirs} />
              <div className="flex flex-wrap gap-2">
                <Button aria-pressed={texts[at] === theirs} onClick={() => set(at, theirs)}>
                  {t('conflict.takeTheirs')}
                </Button>
                <Button aria-pressed={texts[at] === one.mine} onClick={() => set(at, one.mine)}>
                  {t('conflict.takeMine')}
                </Button>
              </div>
              <label className="block">
                <span className="mb-1 block text-sm font-medium">{t('conflict.result')}</span>
                <textarea
                  className={`${FIELD} resize-none field-sizing-content`}
                  rows={2}
                  value={texts[at] ?? ''}
                  placeholder={t('conflict.removed')}
                  onChange={(event) => set(at, event.target.value)}
                />
              </label>
            </li>
          )
        })}
      </ol>
      <div className="mt-5 text-right">
        <Button type="submit" look="primary">
          {t('conflict.done')}
        </Button>
      </div>
    </form>
  )
}

/** A text whose words that the other one lacks stand out. */
function Version({ title, text, beside }: { title: string; text: string | null; beside: string | null }) {
  const t = useT()
  const words = wordsOf(text ?? '')
  const same = new Set(common(words, wordsOf(beside ?? '')).map(([at]) => at))
  return (
    <div>
      <p className="text-sm font-medium">{title}</p>
      <p className="rounded-lg bg-sunken px-3 py-2 break-words">
        {text === null ? (
          <em className="text-muted">{t('conflict.removed')}</em>
        ) : (
          words.map((word, at) => (
            <span key={at}>
              {at > 0 && ' '}
              {same.has(at) ? word : <mark className="rounded bg-warn-soft px-0.5 font-medium text-warn">{word}</mark>}
            </span>
          ))
        )}
      </p>
    </div>
  )
}
