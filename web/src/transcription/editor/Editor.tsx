/** The transcript with its sound, to be read and corrected: words follow what is heard, and a click on a word is heard. */

import { useCallback, useEffect, useMemo, useRef, useState } from 'react'
import { VList, type VListHandle } from 'virtua'
import { useStore } from 'zustand'
import type { Job, Segment, Transcript } from '../../api/types'
import { useMay } from '../../app/session'
import { useT } from '../../i18n'
import { Button, Notice } from '../../ui'
import { useKeys } from '../keys'
import { PlayerBar, RATES, listen, timeNow, usePlayer } from '../player'
import { type Place, lastBegun, nextDoubtful, placeAt } from '../words'
import { ConflictDialog } from './ConflictDialog'
import { ConsentAsked, ConsentDialog } from './Consent'
import { CueView } from './CueView'
import { editingOf } from './editing'
import { FindBar, type Search } from './FindBar'
import { replacing, segmentsWith } from './find'
import { HistoryDialog } from './HistoryDialog'
import { KeysDialog } from './KeysDialog'
import { MAX_OPERATIONS, wordsOf } from './operations'
import { Row } from './Row'
import { SpeakerDialog } from './SpeakerDialog'
import { SavingState, Tools } from './Tools'

const NOWHERE: Place = { segment: -1, word: -1 }
export type Opened = 'keys' | 'speakers' | 'history' | 'training' | null

export function Editor({ job, transcript }: { job: Job; transcript: Transcript }) {
  const t = useT()
  const mayEdit = useMay('write')
  const store = editingOf(job.id, transcript)
  const { segments, revision, conflicts, notice, aliases, edit, go, choose, refresh, dismiss } = useStore(store)
  const { seek, toggle, setRate } = usePlayer.getState()
  const [place, setPlace] = useState(NOWHERE)
  const [editing, setEditing] = useState<number | null>(null) // the segment's id
  const [confidence, setConfidence] = useState(false)
  const [search, setSearch] = useState<Search>({ text: '', by: '', exact: false, replacing: false })
  const [dialog, setDialog] = useState<Opened>(null)
  const [cues, setCues] = useState(false)
  const firstRevision = useRef(revision)
  const chosenAt = useRef(-1)
  const list = useRef<VListHandle>(null)
  const finder = useRef<HTMLInputElement>(null)
  const replacer = useRef<HTMLInputElement>(null)
  const hits = useMemo(() => segmentsWith(segments, search.text, search.exact), [segments, search.text, search.exact])
  const hit = useMemo(() => new Set(hits), [hits])
  const editingAt = useMemo(() => segments.findIndex(({ id }) => id === editing), [segments, editing])
  const current = segments[place.segment]

  const show = useCallback((segment: number) => list.current?.scrollToIndex(segment, { align: 'center' }), [])
  const goTo = useCallback(
    (to: Place) => {
      setPlace(to)
      keepInView(list.current, to.segment)
      const segment = store.getState().segments[to.segment]
      if (!segment) return
      chosenAt.current = segment.words[to.word]?.start ?? segment.start
      seek(chosenAt.current)
    },
    [store, seek],
  )
  const goFar = (to: Place) => {
    goTo(to)
    show(to.segment)
  }

  useEffect(() => {
    let last = NOWHERE
    return listen((seconds) => {
      if (!usePlayer.getState().playing && Math.abs(seconds - chosenAt.current) < 0.01) return // of two at once, this one
      const now = placeAt(store.getState().segments, seconds)
      if (now.segment === last.segment && now.word === last.word) return
      if (now.segment !== last.segment && now.segment >= 0 && editing === null) keepInView(list.current, now.segment)
      last = now
      setPlace(now)
    })
  }, [store, editing])

  useEffect(() => {
    const look = () => void refresh().catch(() => undefined)
    look()
    addEventListener('focus', look)
    return () => removeEventListener('focus', look)
  }, [refresh])

  const startEdit = useCallback(
    (index: number) => {
      if (mayEdit) setEditing(store.getState().segments[index]?.id ?? null)
    },
    [mayEdit, store],
  )
  const leave = useCallback(() => {
    setEditing(null)
    requestAnimationFrame(() => document.activeElement === document.body && focusList())
  }, [])
  const setText = useCallback(
    (segment: Segment, text: string, splitAt: number | null) => {
      leave()
      const plain = text.trim().replace(/\s+/g, ' ')
      const words = wordsOf(plain).length
      if (!plain) return edit({ op: 'delete', segment: segment.id })
      if (plain !== segment.text.trim()) edit({ op: 'text', segment: segment.id, text: plain })
      if (splitAt !== null && splitAt > 0 && splitAt < words) edit({ op: 'split', segment: segment.id, word: splitAt })
    },
    [edit, leave],
  )

  /** A dialog tells of its end late: by then another one may be open. */
  const close = (name: Opened) => () => setDialog((now) => (now === name ? null : now))
  const onCurrent = (act: (segment: Segment) => void) => () => void (mayEdit && current && act(current))
  const actions = {
    edit: onCurrent(() => startEdit(place.segment)),
    split: onCurrent((segment) => {
      const word = place.word > 0 ? place.word : Math.floor(wordsOf(segment.text).length / 2)
      if (word > 0) edit({ op: 'split', segment: segment.id, word })
    }),
    merge: onCurrent((segment) => place.segment + 1 < segments.length && edit({ op: 'merge', segment: segment.id })),
    remove: onCurrent((segment) => edit({ op: 'delete', segment: segment.id })),
    speaker: onCurrent(() => setDialog('speakers')),
    undo: () => void (mayEdit && go('undo')),
    redo: () => void (mayEdit && go('redo')),
    history: () => setDialog('history'),
    cues: () => setCues((now) => !now),
    help: () => setDialog('keys'),
  }

  useKeys({
    ...actions,
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
      goFar(next)
    },
    find: () => finder.current?.focus(),
    replace: () => {
      if (!mayEdit) return
      setSearch((now) => ({ ...now, replacing: true }))
      requestAnimationFrame(() => (search.text ? replacer : finder).current?.focus())
    },
  })

  function nextHit() {
    const next = hits.find((index) => index > place.segment) ?? hits[0]
    if (next !== undefined) goFar({ segment: next, word: 0 })
  }

  function replace(all: boolean) {
    const here = hit.has(place.segment) ? place.segment : hits[0]
    const within = all ? segments : segments.filter((_, at) => at === here)
    const operations = replacing(within, search.text, search.by, search.exact)
    for (let at = 0; at < operations.length; at += MAX_OPERATIONS) edit(...operations.slice(at, at + MAX_OPERATIONS))
    if (!all && here !== undefined) {
      const next = hits.find((index) => index > here)
      goFar({ segment: next ?? here, word: 0 })
    }
  }

  return (
    <div className="overflow-hidden rounded-xl border border-line bg-surface">
      <PlayerBar jobId={job.id} duration_s={transcript.duration} />
      <div className="flex flex-wrap items-center gap-2 border-b border-line px-3 py-2">
        <FindBar
          search={search}
          onChange={setSearch}
          hits={hits.length}
          mayEdit={mayEdit}
          field={finder}
          by={replacer}
          onNext={nextHit}
          onReplace={replace}
        />
      </div>
      <Tools
        actions={actions}
        mayEdit={mayEdit}
        chosen={current !== undefined}
        cues={cues}
        confidence={confidence}
        onConfidence={() => setConfidence(!confidence)}
        onTraining={() => setDialog('training')}
        onSpeakers={() => setDialog('speakers')}
      />
      {notice && (
        <div className="border-b border-line p-2">
          <Notice tone="warn" urgent>
            <span className="min-w-0 grow basis-64">
              {notice === 'overtaken'
                ? t('editor.overtaken')
                : notice.code.startsWith('nothing_to_')
                  ? t(notice.code === 'nothing_to_undo' ? 'editor.nothingToUndo' : 'editor.nothingToRedo')
                  : `${t('editor.refused')} ${notice.problem.detail}`}
            </span>
            <Button onClick={dismiss}>{t('action.close')}</Button>
          </Notice>
        </div>
      )}
      {mayEdit && <ConsentAsked jobId={job.id} edited={revision > firstRevision.current} />}
      {cues ? (
        <CueView
          jobId={job.id}
          revision={revision}
          onGo={(seconds) => {
            setCues(false)
            requestAnimationFrame(() => goFar({ segment: Math.max(0, lastBegun(segments, seconds + 0.001)), word: 0 }))
          }}
        />
      ) : (
        // scrolled by hand, so it takes the focus: arrow keys move it
        <VList
          ref={list}
          id="editor-text"
          className="h-[max(18rem,calc(100dvh-27rem))]! outline-offset-[-2px] md:h-[max(20rem,calc(100dvh-24rem))]!"
          tabIndex={0}
          role="region"
          aria-label={t('reader.text')}
          itemSize={64}
          data={segments as Segment[]}
          keepMounted={editingAt >= 0 ? [editingAt] : undefined}
        >
          {(segment, index) => (
            <Row
              key={aliases.get(segment.id) ?? segment.id}
              segment={segment}
              index={index}
              turn={Boolean(segment.speaker) && segment.speaker !== segments[index - 1]?.speaker}
              word={index === place.segment ? place.word : null}
              hit={hit.has(index)}
              confidence={confidence}
              editing={index === editingAt}
              onGo={goTo}
              onEdit={startEdit}
              onText={setText}
              onLeave={leave}
            />
          )}
        </VList>
      )}
      <SavingState store={store} />
      <KeysDialog open={dialog === 'keys'} onClose={close('keys')} />
      <SpeakerDialog
        open={dialog === 'speakers'}
        onClose={close('speakers')}
        segments={segments}
        at={place.segment}
        mayEdit={mayEdit}
        edit={edit}
      />
      <HistoryDialog
        open={dialog === 'history'}
        onClose={close('history')}
        jobId={job.id}
        revision={revision}
        onRestore={mayEdit ? (number) => go('restore', number) : undefined}
      />
      <ConsentDialog open={dialog === 'training'} onClose={close('training')} jobId={job.id} />
      <ConflictDialog conflicts={conflicts} onChoose={choose} />
    </div>
  )
}

function rateBeside(step: number): number {
  const at = RATES.indexOf(usePlayer.getState().rate) + step
  return RATES[Math.max(0, Math.min(RATES.length - 1, at))] ?? 1
}

function focusList(): void {
  document.getElementById('editor-text')?.focus({ preventScroll: true })
}

/** Scroll only when the segment is out of sight: never against the hand. */
function keepInView(list: VListHandle | null, index: number): void {
  if (!list || index < 0) return
  const top = list.getItemOffset(index)
  const bottom = top + list.getItemSize(index)
  if (top < list.scrollOffset || bottom > list.scrollOffset + list.viewportSize) list.scrollToIndex(index, { align: 'center' })
}
