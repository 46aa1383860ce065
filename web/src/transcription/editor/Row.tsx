/** One passage: its time, who says it, and its words; or, while it is edited, its text. */

import { Fragment, memo, useEffect, useRef, useState } from 'react'
import type { Segment } from '../../api/types'
import { clock } from '../../app/format'
import { useT } from '../../i18n'
import { DOUBTFUL, type Place, UNSURE } from '../words'

export type RowProps = {
  segment: Segment
  index: number
  /** Whether somebody else spoke before. */
  turn: boolean
  /** The word that is heard or was chosen; null: none of this segment. */
  word: number | null
  hit: boolean
  confidence: boolean
  editing: boolean
  onGo: (place: Place) => void
  onEdit: (index: number) => void
  onText: (segment: Segment, text: string, splitAt: number | null) => void
  onLeave: () => void
}

export const Row = memo(function Row(props: RowProps) {
  const { segment, index, turn, word, hit, editing, onGo, onEdit } = props
  const t = useT()
  const current = word !== null
  return (
    <div
      data-segment={index}
      data-id={segment.id}
      aria-current={current || undefined}
      className={`flex gap-3 border-l-4 px-3 py-2 ${current ? 'border-accent bg-accent-soft' : hit ? 'border-warn bg-warn-soft' : 'border-transparent'}`}
    >
      <button
        type="button"
        className="mt-0.5 h-fit shrink-0 rounded px-1 font-mono text-sm text-muted tabular-nums hover:bg-sunken hover:text-text"
        aria-label={t('reader.goTo', { time: clock(segment.start) })}
        onClick={() => onGo({ segment: index, word: 0 })}
      >
        {clock(segment.start)}
      </button>
      <div className="min-w-0 grow" lang={segment.language || undefined}>
        {turn && <p className="text-sm font-semibold text-accent">{segment.speaker}</p>}
        {editing ? (
          <TextField {...props} />
        ) : (
          // a word is heard by a click, the passage edited by two; time and keys do the same without a mouse
          <p
            className="leading-relaxed break-words"
            onClick={(event) => {
              if (getSelection()?.toString()) return
              onGo({ segment: index, word: Number((event.target as HTMLElement).dataset.word ?? 0) })
            }}
            onDoubleClick={() => onEdit(index)}
          >
            <Words {...props} />
          </p>
        )}
      </div>
    </div>
  )
})

function Words({ segment, word, confidence }: RowProps) {
  if (!segment.words.length) return segment.text
  return segment.words.map((one, at) => (
    <Fragment key={at}>
      {at > 0 && /^\s/.test(one.word) && ' '}
      <span
        data-word={at}
        title={confidence ? `${Math.round(one.probability * 100)} %` : undefined}
        className={`cursor-pointer rounded-sm ${wordLook(one.probability, at === word, confidence)}`}
      >
        {one.word.trim()}
      </span>
    </Fragment>
  ))
}

function wordLook(probability: number, heard: boolean, confidence: boolean): string {
  if (heard) return 'bg-accent text-on-accent'
  if (!confidence || probability >= UNSURE) return ''
  return probability < DOUBTFUL
    ? 'text-danger underline decoration-2 underline-offset-4'
    : 'text-warn underline decoration-dotted decoration-2 underline-offset-4'
}

/** What is written stays when the text is left in any way but Escape. */
function TextField({ segment, word, onText, onLeave }: RowProps) {
  const t = useT()
  const [text, setText] = useState(segment.text)
  const box = useRef<HTMLTextAreaElement>(null)
  const over = useRef(false)
  const first = useRef({ word, text: segment.text })

  useEffect(() => {
    const field = box.current
    if (!field) return
    const at = startOfWord(first.current.text, first.current.word ?? 0)
    field.focus({ preventScroll: true })
    field.setSelectionRange(at, at)
  }, [])
  useEffect(() => {
    const field = box.current
    if (!field || CSS.supports('field-sizing', 'content')) return
    field.style.height = 'auto'
    field.style.height = `${field.scrollHeight}px`
  }, [text])

  function save(splitAt: number | null = null) {
    if (over.current) return
    over.current = true
    onText(segment, text, splitAt)
  }

  return (
    <textarea
      ref={box}
      rows={1}
      value={text}
      spellCheck
      aria-label={t('editor.text')}
      className="-mx-1 block w-full resize-none rounded border border-edge bg-surface px-1 leading-relaxed text-text field-sizing-content"
      onChange={(event) => setText(event.target.value.replace(/\s*\n\s*/g, ' '))}
      onBlur={() => save()}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return
        if (event.key === 'Escape') {
          over.current = true
          onLeave()
        } else if (event.key === 'Enter') {
          event.preventDefault()
          save(event.ctrlKey || event.metaKey ? wordAt(text, event.currentTarget.selectionStart) : null)
        }
      }}
    />
  )
}

/** Where the word of this number begins. */
export function startOfWord(text: string, word: number): number {
  return [...text.matchAll(/\S+/g)][word]?.index ?? text.length
}

/** The number of the word that begins at a place of the text, or behind it. */
export function wordAt(text: string, at: number): number {
  return [...text.matchAll(/\S+/g)].filter((one) => one.index < at).length
}
