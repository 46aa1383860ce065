/** Corrections given to training: asked once, after the first edit, and taken back at any time. */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { get, remove, send } from '../../api/client'
import type { Consent } from '../../api/types'
import { when } from '../../app/format'
import { Trouble } from '../../app/Trouble'
import { useLanguage, useT } from '../../i18n'
import { Button, Dialog, Loading, Notice } from '../../ui'

const ASKED = 'milo.consentAsked'

function wasAsked(): boolean {
  try {
    return localStorage.getItem(ASKED) !== null
  } catch {
    return true
  }
}

function useConsent(jobId: string, enabled = true) {
  const queries = useQueryClient()
  const key = ['consent', jobId]
  const consent = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => get<Consent>(`/transcripts/${jobId}/consent`, signal),
    enabled,
  })
  const say = useMutation({
    mutationFn: async (yes: boolean) => {
      if (yes) await send(`/transcripts/${jobId}/consent`, { method: 'PUT' })
      else await remove(`/transcripts/${jobId}/consent`)
    },
    onSettled: () => queries.invalidateQueries({ queryKey: key }),
  })
  return { consent, say }
}

export function ConsentAsked({ jobId, edited }: { jobId: string; edited: boolean }) {
  const t = useT()
  const [asked, setAsked] = useState(wasAsked)
  const { say } = useConsent(jobId, false)
  if (asked || !edited) return null
  const answer = (yes: boolean) => {
    try {
      localStorage.setItem(ASKED, '1')
    } catch {
      // asked again on the next visit
    }
    setAsked(true)
    if (yes) say.mutate(true)
  }
  return (
    <div className="border-b border-line p-2">
      <Notice tone="ok">
        <span className="min-w-0 grow basis-64">{t('training.ask')}</span>
        <Button onClick={() => answer(true)}>{t('training.yes')}</Button>
        <Button onClick={() => answer(false)}>{t('training.no')}</Button>
      </Notice>
    </div>
  )
}

export function ConsentDialog({ open, onClose, jobId }: { open: boolean; onClose: () => void; jobId: string }) {
  const t = useT()
  return (
    <Dialog open={open} onClose={onClose} title={t('editor.training')}>
      {open && <Given jobId={jobId} />}
      <div className="mt-5 text-right">
        <Button onClick={onClose}>{t('action.close')}</Button>
      </div>
    </Dialog>
  )
}

function Given({ jobId }: { jobId: string }) {
  const t = useT()
  const language = useLanguage()
  const { consent, say } = useConsent(jobId)
  if (consent.isPending) return <Loading label={t('state.loading')} />
  if (consent.isError) return <Trouble error={consent.error} onRetry={() => void consent.refetch()} />
  const { training, given_by, given_at } = consent.data
  return (
    <>
      <p className="mb-3">{t('training.what')}</p>
      <p role="status" className="mb-3 text-muted">
        {training ? t('training.given', { who: given_by ?? '', when: when(given_at, language) }) : t('training.notGiven')}
      </p>
      {say.isError && <Trouble error={say.error} />}
      <Button look={training ? 'danger' : 'primary'} disabled={say.isPending} onClick={() => say.mutate(!training)}>
        {t(training ? 'training.takeBack' : 'training.give')}
      </Button>
    </>
  )
}
