/** Who changed what and when, and the way back to each text. */

import { useInfiniteQuery } from '@tanstack/react-query'
import { get } from '../../api/client'
import type { Revision } from '../../api/types'
import { when } from '../../app/format'
import { Trouble } from '../../app/Trouble'
import { type TextKey, useLanguage, useT } from '../../i18n'
import { Button, Dialog, Loading } from '../../ui'

type Props = { open: boolean; onClose: () => void; jobId: string; revision: number; onRestore?: (revision: number) => void }
type RevisionPage = { items: Revision[]; next: number | null }

export function HistoryDialog({ open, onClose, ...rest }: Props) {
  const t = useT()
  return (
    <Dialog open={open} onClose={onClose} title={t('editor.history')}>
      {open && <History {...rest} onClose={onClose} />}
    </Dialog>
  )
}

function History({ jobId, revision, onRestore, onClose }: Omit<Props, 'open'>) {
  const t = useT()
  const language = useLanguage()
  const pages = useInfiniteQuery({
    queryKey: ['revisions', jobId, revision],
    queryFn: ({ pageParam, signal }) =>
      get<RevisionPage>(`/transcripts/${jobId}/revisions?limit=50${pageParam ? `&before=${pageParam}` : ''}`, signal),
    initialPageParam: 0 as number,
    getNextPageParam: (page) => page.next,
  })
  const items = pages.data?.pages.flatMap((page) => page.items) ?? []
  const restore = (number: number, label: string) =>
    onRestore &&
    number !== revision && (
      <Button
        aria-label={t('history.restoreOne', { name: label })}
        onClick={() => {
          onRestore(number)
          onClose()
        }}
      >
        {t('history.restore')}
      </Button>
    )
  return (
    <>
      {pages.isPending && <Loading label={t('state.loading')} />}
      {pages.isError && <Trouble error={pages.error} onRetry={() => void pages.refetch()} />}
      <ol className="divide-y divide-line">
        {items.map((one) => (
          <li key={one.revision} data-revision={one.revision} className="flex items-center gap-3 py-2">
            <span className="min-w-0 grow">
              <span className="block break-words">
                {one.action === 'edit' ? <Edited revision={one} /> : t(`history.${one.action}`, { n: one.state })}
              </span>
              <span className="block text-sm text-muted">
                {one.author} · <time dateTime={one.created_at}>{when(one.created_at, language)}</time> · {one.revision}
              </span>
            </span>
            {restore(one.revision, String(one.revision))}
          </li>
        ))}
        {pages.isSuccess && !pages.hasNextPage && (
          <li className="flex items-center gap-3 py-2">
            <span className="min-w-0 grow">{t('history.machine')}</span>
            {restore(0, t('history.machine'))}
          </li>
        )}
      </ol>
      <div className="mt-5 flex justify-end gap-2">
        {pages.hasNextPage && <Button onClick={() => void pages.fetchNextPage()}>{t('jobs.more')}</Button>}
        <Button onClick={onClose}>{t('action.close')}</Button>
      </div>
    </>
  )
}

/** The first operation of an edit in words, and how many more there were. */
function Edited({ revision }: { revision: Revision }) {
  const t = useT()
  const [first, ...more] = revision.operations
  const text = typeof first?.text === 'string' ? first.text : typeof first?.to === 'string' ? first.to : first?.speaker
  return (
    <>
      {t(`history.${first?.op ?? 'text'}` as TextKey)}
      {typeof text === 'string' && <q className="ml-1">{text.slice(0, 120)}</q>}
      {more.length > 0 && ` ${t('history.more', { n: more.length })}`}
    </>
  )
}
