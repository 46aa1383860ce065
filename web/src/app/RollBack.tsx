import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { post } from '../api/client'
import type { Model } from '../api/types'
import { useT } from '../i18n'
import { Button, Dialog } from '../ui'
import { Trouble } from './Trouble'

/** The way back to the version of a model before the one that serves, asked for once more before it is gone. */
export function RollBack({ model }: { model: Model }) {
  const t = useT()
  const queries = useQueryClient()
  const [asked, setAsked] = useState(false)
  const back = useMutation({
    mutationFn: () => post(`/models/${model.name}/rollback`),
    onSuccess: () => setAsked(false),
    onSettled: () => void queries.invalidateQueries({ queryKey: ['models'] }),
  })
  return (
    <>
      <Button onClick={() => setAsked(true)}>{t('models.back')}</Button>
      <Dialog open={asked} onClose={() => setAsked(false)} title={t('models.back')}>
        <p>{t('models.backHint', { name: model.name })}</p>
        {back.isError && <Trouble error={back.error} />}
        <div className="mt-5 flex justify-end gap-2">
          <Button onClick={() => setAsked(false)}>{t('action.cancel')}</Button>
          <Button look="danger" disabled={back.isPending} onClick={() => back.mutate()}>
            {t('models.back')}
          </Button>
        </div>
      </Dialog>
    </>
  )
}
