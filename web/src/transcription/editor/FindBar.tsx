/** Find, and replace what was found, in all of the text. */

import { type KeyboardEvent, type RefObject, useId } from 'react'
import { useT } from '../../i18n'
import { Button, FIELD } from '../../ui'

export type Search = { text: string; by: string; exact: boolean; replacing: boolean }

type Props = {
  search: Search
  onChange: (search: Search) => void
  hits: number
  mayEdit: boolean
  field: RefObject<HTMLInputElement | null>
  by: RefObject<HTMLInputElement | null>
  onNext: () => void
  onReplace: (all: boolean) => void
}

/** A form of two fields is not sent by Enter. */
const onEnter = (act: () => void) => (event: KeyboardEvent) => {
  if (event.key !== 'Enter' || event.nativeEvent.isComposing) return
  event.preventDefault()
  act()
}

export function FindBar({ search, onChange, hits, mayEdit, field, by, onNext, onReplace }: Props) {
  const t = useT()
  const id = useId()
  const found = hits > 0
  return (
    <form
      role="search"
      className="flex min-w-0 grow basis-52 flex-wrap items-center gap-2"
      onSubmit={(event) => event.preventDefault()}
    >
      <input
        ref={field}
        type="search"
        className={`${FIELD} min-w-32 grow basis-32`}
        placeholder={t('reader.find')}
        aria-label={t('reader.find')}
        value={search.text}
        onChange={(event) => onChange({ ...search, text: event.target.value })}
        onKeyDown={onEnter(onNext)}
      />
      <span className="min-w-16 shrink-0 text-sm text-muted" role="status">
        {search.text.trim() && t('reader.hits', { n: hits })}
      </span>
      {mayEdit && (
        <Button
          aria-expanded={search.replacing}
          aria-controls={id}
          onClick={() => onChange({ ...search, replacing: !search.replacing })}
        >
          {t('editor.replace')}
        </Button>
      )}
      {search.replacing && (
        <div id={id} className="flex grow basis-full flex-wrap items-center gap-2">
          <input
            ref={by}
            className={`${FIELD} min-w-32 grow basis-32`}
            placeholder={t('editor.replaceBy')}
            aria-label={t('editor.replaceBy')}
            value={search.by}
            onChange={(event) => onChange({ ...search, by: event.target.value })}
            onKeyDown={onEnter(() => found && onReplace(false))}
          />
          <label className="flex min-h-10 items-center gap-2 text-sm">
            <input
              type="checkbox"
              checked={search.exact}
              onChange={(event) => onChange({ ...search, exact: event.target.checked })}
            />
            {t('editor.exact')}
          </label>
          <Button disabled={!found} onClick={() => onReplace(false)}>
            {t('editor.replaceHere')}
          </Button>
          <Button disabled={!found} onClick={() => onReplace(true)}>
            {t('editor.replaceAll', { n: hits })}
          </Button>
        </div>
      )}
    </form>
  )
}
