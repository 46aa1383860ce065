/** The transcript with its sound: words follow what is heard, and a click on a word is heard. */

import { Fragment, memo, useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { VList, type VListHandle } from 'virtua'
import type { Job, Segment, Transcript } from '../api/types'
import { clock } from '../app/format'
import { useT } from '../i18n'
import { Button, Dialog, FIELD } from '../ui'
import { KEYS, useKeys } from './keys'
import { PlayerBar, RATES, listen, timeNow, usePlayer } from './player'
import { DOUBTFUL, type Place, UNSURE, nextDoubtful, placeAt, segmentsWith } from './words'

const NOWHERE: Place = { segment: -1, word: -1 }

export function Reader({ job, transcript }: { job: Job; transcript: Transcript }) {
  const t = useT()
  const { segments } = transcript
  const { seek, toggle, setRate } = usePlayer.getState()
  const [place, setPlace] = useState(NOWHERE)
  const [confidence, setConfidence] = useState(false)
  const [find, setFind] = useState('')
  const [help, setHelp] = useState(false)
  const list = useRef<VListHandle>(null)
  const finder = useRef<HTMLInputElement>(null)
  const hits = useMemo(() => segmentsWith(transcript, find), [transcript, find])
  const hit = useMemo(() => new Set(hits), [hits])

  const show = useCallback((segment: number) => list.current?.scrollToIndex(segment, { align: 'center' }), [])
  const goTo = useCallback(
    (to: Place) => {
      setPlace(to)
      show(to.segment)
      const segment = segments[to.segment]
      if (segment) seek(segment.words[to.word]?.start ?? segment.start)
    },
    [segments, seek, show],
  )

  useEffect(() => {
    let last = NOWHERE
    return listen((seconds) => {
      const now = placeAt(segments, seconds)
      if (now.segment === last.segment && now.word === last.word) return
      if (now.segment !== last.segment && now.segment >= 0) keepInView(list.current, now.segment)
      last = now
      setPlace(now)
    })
  }, [segments])

  useKeys({
    toggle,
    back: () => seek(timeNow() - 5),
    forward: () => seek(timeNow() + 5),
    previous: () => goTo({ segment: Math.max(0, place.segment - 1), word: 0 }),
    next: () => goTo({ segment: Math.min(segments.length - 1, place.segment + 1), word: 0 }),
    slower: () => setRate(rateBeside(-1)),
    faster: () => setRate(rateBeside(1)),
    doubtful: () => {
      const next = nextDoubtful(segments, place)
      if (!next) return
      setConfidence(true)
      goTo(next)
    },
    find: () => finder.current?.focus(),
    help: () => setHelp(true),
  })

  function nextHit() {
    const next = hits.find((index) => index > place.segment) ?? hits[0]
    if (next !== undefined) goTo({ segment: next, word: 0 })
  }

  return (
    <div className="overflow-hidden rounded-xl border border-line bg-surface">
      <PlayerBar jobId={job.id} duration_s={transcript.duration} />
      <div className="flex flex-wrap items-center gap-2 border-b border-line px-3 py-2">
        <form
          role="search"
          className="flex min-w-0 grow basis-52 items-center gap-2"
          onSubmit={(event) => {
            event.preventDefault()
            nextHit()
          }}
        >
          <input
            ref={finder}
            type="search"
            className={FIELD}
            placeholder={t('reader.find')}
            aria-label={t('reader.find')}
            value={find}
            onChange={(event) => setFind(event.target.value)}
          />
          <span className="min-w-16 shrink-0 text-sm text-muted" role="status">
            {find.trim() && t('reader.hits', { n: hits.length })}
          </span>
        </form>
        <Button aria-pressed={confidence} look={confidence ? 'primary' : 'plain'} onClick={() => setConfidence(!confidence)}>
          {t('reader.confidence')}
        </Button>
        <Button className="hidden! md:inline-flex!" onClick={() => setHelp(true)}>
          {t('reader.keys')}
        </Button>
      </div>
      {/* scrolled by hand, so it takes the focus: arrow keys move it */}
      <VList
        ref={list}
        className="h-[max(18rem,calc(100dvh-24rem))] outline-offset-[-2px] md:h-[max(20rem,calc(100dvh-21rem))]!"
        tabIndex={0}
        role="region"
        aria-label={t('reader.text')}
        itemSize={64}
      >
        {segments.map((segment, index) => (
          <Row
            key={segment.id}
            segment={segment}
            index={index}
            word={index === place.segment ? place.word : null}
            hit={hit.has(index)}
            confidence={confidence}
            onGo={goTo}
          />
        ))}
      </VList>
      <Dialog open={help} onClose={() => setHelp(false)} title={t('reader.keys')}>
        <dl className="grid grid-cols-[auto_1fr] items-center gap-x-4 gap-y-2">
          {KEYS.map((one) => (
            <div key={one.does} className="contents">
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
        <div className="mt-5 text-right">
          <Button onClick={() => setHelp(false)}>{t('action.close')}</Button>
        </div>
      </Dialog>
    </div>
  )
}

function rateBeside(step: number): number {
  const at = RATES.indexOf(usePlayer.getState().rate) + step
  return RATES[Math.max(0, Math.min(RATES.length - 1, at))] ?? 1
}

/** Scroll only when the segment is out of sight: never against the hand. */
function keepInView(list: VListHandle | null, index: number): void {
  if (!list) return
  const top = list.getItemOffset(index)
  const bottom = top + list.getItemSize(index)
  if (top < list.scrollOffset || bottom > list.scrollOffset + list.viewportSize) list.scrollToIndex(index, { align: 'center' })
}

type RowProps = {
  segment: Segment
  index: number
  /** The word that is heard; null: none of this segment. */
  word: number | null
  hit: boolean
  confidence: boolean
  onGo: (place: Place) => void
}

const Row = memo(function Row({ segment, index, word, hit, confidence, onGo }: RowProps) {
  const t = useT()
  const heard = word !== null
  return (
    <div
      data-segment={index}
      className={`flex gap-3 border-l-4 px-3 py-2 ${heard ? 'border-accent bg-accent-soft' : hit ? 'border-warn bg-warn-soft' : 'border-transparent'}`}
    >
      <button
        type="button"
        className="mt-0.5 h-fit shrink-0 rounded px-1 font-mono text-sm text-muted tabular-nums hover:bg-sunken hover:text-text"
        aria-label={t('reader.goTo', { time: clock(segment.start) })}
        onClick={() => onGo({ segment: index, word: 0 })}
      >
        {clock(segment.start)}
      </button>
      {/* a word is heard by a click; the time beside it does the same for the keyboard */}
      <p
        lang={segment.language || undefined}
        className="min-w-0 leading-relaxed break-words"
        onClick={(event) => {
          const at = (event.target as HTMLElement).dataset.word
          if (at !== undefined && !getSelection()?.toString()) onGo({ segment: index, word: Number(at) })
        }}
      >
        {segment.words.length
          ? segment.words.map((one, at) => (
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
          : segment.text}
      </p>
    </div>
  )
})

function wordLook(probability: number, heard: boolean, confidence: boolean): string {
  if (heard) return 'bg-accent text-on-accent'
  if (!confidence || probability >= UNSURE) return ''
  return probability < DOUBTFUL
    ? 'text-danger underline decoration-2 underline-offset-4'
    : 'text-warn underline decoration-dotted decoration-2 underline-offset-4'
}
