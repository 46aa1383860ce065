/** Search over all transcripts of this key: passages with their times, the sound at that time a click away. */

import { useInfiniteQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { Link } from 'wouter'
import { create } from 'zustand'
import { get } from '../../api/client'
import { useDefaultModel } from '../../api/queries'
import type { components } from '../../api/schema'
import { clock, when } from '../../app/format'
import { languageName } from '../../app/languages'
import { Trouble } from '../../app/Trouble'
import { useLanguage, useT } from '../../i18n'
import { Button, Empty, FIELD, Field, Loading, Select } from '../../ui'
import { piecesOf } from './highlights'

type Hit = components['schemas']['HitDocument']
type Hits = { items: Hit[]; next: number | null }
type Asked = { q: string; since: string; until: string; language: string; sure: string }

const NOTHING: Asked = { q: '', since: '', until: '', language: '', sure: '' }
/** Waited for after the last letter. */
const PAUSE_MS = 300
/** What is asked for by how sure the machine was; a hit's confidence is that of its passage. */
const SURE: Record<string, string> = { sure: '&min_confidence=0.85', doubtful: '&max_confidence=0.6' }

/** Kept while other screens are shown. */
const useAsked = create<Asked>(() => NOTHING)

export function Search() {
  const t = useT()
  const asked = useAsked()
  const [more, setMore] = useState(asked.since + asked.until + asked.language + asked.sure !== '')
  return (
    <section className="mb-6" aria-labelledby="search-title">
      <h2 id="search-title" className="mb-2 text-sm font-semibold text-muted">
        {t('search.title')}
      </h2>
      <form role="search" aria-labelledby="search-title" onSubmit={(event) => event.preventDefault()}>
        <div className="flex gap-2">
          <input
            type="search"
            className={FIELD}
            maxLength={200}
            placeholder={t('search.hint')}
            aria-label={t('search.title')}
            value={asked.q}
            onChange={(event) => useAsked.setState({ q: event.target.value })}
          />
          <Button aria-expanded={more} onClick={() => setMore(!more)}>
            {t('search.filters')}
          </Button>
        </div>
        {more && <Filters asked={asked} />}
      </form>
      {asked.q.trim() && <Found asked={asked} />}
    </section>
  )
}

function Filters({ asked }: { asked: Asked }) {
  const t = useT()
  const shown = useLanguage()
  const languages = useDefaultModel('stt')?.languages ?? ['mg', 'fr', 'en']
  const date = (name: 'since' | 'until') => (
    <Field label={t(`search.${name}`)}>
      <input
        type="date"
        className={FIELD}
        value={asked[name]}
        onChange={(event) => useAsked.setState({ [name]: event.target.value })}
      />
    </Field>
  )
  return (
    <div className="mt-3 grid gap-3 sm:grid-cols-2 lg:grid-cols-4">
      {date('since')}
      {date('until')}
      <Select
        label={t('talk.language')}
        value={asked.language}
        onChange={(event) => useAsked.setState({ language: event.target.value })}
      >
        <option value="">{t('jobs.all')}</option>
        {languages.map((code) => (
          <option key={code} value={code}>
            {languageName(code, shown)}
          </option>
        ))}
      </Select>
      <Select
        label={t('search.sure')}
        value={asked.sure}
        onChange={(event) => useAsked.setState({ sure: event.target.value })}
      >
        <option value="">{t('jobs.all')}</option>
        <option value="sure">{t('search.sureOnly')}</option>
        <option value="doubtful">{t('search.doubtfulOnly')}</option>
      </Select>
    </div>
  )
}

function Found({ asked }: { asked: Asked }) {
  const t = useT()
  const settled = useSettled(asked)
  const hits = useInfiniteQuery({
    queryKey: ['search', settled],
    queryFn: ({ pageParam, signal }) => get<Hits>(`/search?${queryOf(settled)}${pageParam}`, signal),
    initialPageParam: '',
    getNextPageParam: (page) => (page.next === null ? undefined : `&before=${page.next}`),
    enabled: settled.q.trim() !== '',
  })
  if (hits.isPending) return <Loading label={t('state.loading')} />
  if (hits.isError) {
    return (
      <div className="mt-3">
        <Trouble error={hits.error} onRetry={() => void hits.refetch()} />
      </div>
    )
  }
  const items = hits.data.pages.flatMap((page) => page.items)
  return (
    <div className="mt-3">
      <p role="status" className="mb-2 text-sm text-muted">
        {t(hits.hasNextPage ? 'search.atLeast' : 'search.found', { n: items.length })}
      </p>
      {items.length ? (
        <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface">
          {items.map((hit) => (
            <li key={`${hit.transcript_id} ${hit.segment}`}>
              <Passage hit={hit} />
            </li>
          ))}
        </ul>
      ) : (
        <Empty title={t('search.none')}>{t('search.noneHint')}</Empty>
      )}
      {hits.hasNextPage && (
        <div className="mt-3 text-center">
          <Button onClick={() => void hits.fetchNextPage()} disabled={hits.isFetchingNextPage}>
            {t('jobs.more')}
          </Button>
        </div>
      )}
    </div>
  )
}

function Passage({ hit }: { hit: Hit }) {
  const language = useLanguage()
  return (
    <Link href={`/transcription/${hit.transcript_id}#t=${hit.start}`} className="block px-4 py-3 hover:bg-sunken/50">
      <span className="flex flex-wrap gap-x-3 text-sm text-muted">
        <span className="min-w-0 max-w-full truncate font-medium text-text">{hit.name}</span>
        <span className="font-mono tabular-nums">{clock(hit.start)}</span>
        {hit.speaker && <span>{hit.speaker}</span>}
        <span>{languageName(hit.language, language)}</span>
        <span>{Math.round(hit.confidence * 100)} %</span>
        <span>{when(hit.created_at, language)}</span>
      </span>
      <span className="mt-0.5 block break-words" lang={hit.language || undefined}>
        {piecesOf(hit.text, hit.highlights as [number, number][]).map((piece, at) =>
          piece.marked ? (
            <mark key={at} className="rounded-sm bg-accent-soft font-semibold text-text">
              {piece.text}
            </mark>
          ) : (
            piece.text
          ),
        )}
      </span>
    </Link>
  )
}

function queryOf(asked: Asked): string {
  const query = new URLSearchParams({ q: asked.q.trim() })
  for (const name of ['since', 'until', 'language'] as const) if (asked[name]) query.set(name, asked[name])
  return `${query}${SURE[asked.sure] ?? ''}`
}

/** What is asked for, once the hand rests. */
function useSettled(asked: Asked): Asked {
  const [settled, setSettled] = useState(asked)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(asked), PAUSE_MS)
    return () => clearTimeout(timer)
  }, [asked])
  return settled
}
