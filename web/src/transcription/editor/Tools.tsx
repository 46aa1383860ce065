/** What can be done to the passage that was chosen and to the whole text, and whether it is saved. */

import { type StoreApi, useStore } from 'zustand'
import { type TextKey, useT } from '../../i18n'
import { Button, IconButton } from '../../ui'
import { Icon, type IconName } from '../../ui/icons'
import type { Editing } from './editing'

type Name = 'edit' | 'split' | 'merge' | 'remove' | 'undo' | 'redo' | 'history' | 'cues' | 'help'

const ON_PASSAGE: { does: Name; icon: IconName; text: TextKey }[] = [
  { does: 'edit', icon: 'edit', text: 'editor.edit' },
  { does: 'split', icon: 'split', text: 'editor.split' },
  { does: 'merge', icon: 'merge', text: 'editor.merge' },
  { does: 'remove', icon: 'trash', text: 'editor.remove' },
]
const BACK: { does: Name; icon: IconName; text: TextKey }[] = [
  { does: 'undo', icon: 'undo', text: 'editor.undo' },
  { does: 'redo', icon: 'redo', text: 'editor.redo' },
]

type Props = {
  actions: Record<Name, () => void>
  mayEdit: boolean
  /** Whether a passage was chosen. */
  chosen: boolean
  cues: boolean
  confidence: boolean
  onConfidence: () => void
  onSpeakers: () => void
  onTraining: () => void
}

export function Tools({ actions, mayEdit, chosen, cues, confidence, onConfidence, onSpeakers, onTraining }: Props) {
  const t = useT()
  return (
    <div role="toolbar" aria-label={t('editor.tools')} className="flex flex-wrap items-center gap-1 border-b border-line px-2 py-1">
      {mayEdit &&
        ON_PASSAGE.map(({ does, icon, text }) => (
          <IconButton
            key={does}
            label={t(text)}
            disabled={!chosen || cues}
            // the text that is being edited keeps the focus until the button is released
            onClick={actions[does]}
          >
            <Icon name={icon} />
          </IconButton>
        ))}
      {mayEdit &&
        BACK.map(({ does, icon, text }) => (
          <IconButton key={does} label={t(text)} onClick={actions[does]}>
            <Icon name={icon} />
          </IconButton>
        ))}
      <span className="grow" />
      <Button look={confidence ? 'primary' : 'quiet'} aria-pressed={confidence} onClick={onConfidence}>
        {t('reader.confidence')}
      </Button>
      <Button look={cues ? 'primary' : 'quiet'} aria-pressed={cues} onClick={actions.cues}>
        {t('editor.cues')}
      </Button>
      <Button look="quiet" onClick={onSpeakers}>
        {t('editor.speakers')}
      </Button>
      <Button look="quiet" onClick={actions.history}>
        {t('editor.history')}
      </Button>
      {mayEdit && (
        <Button look="quiet" onClick={onTraining}>
          {t('editor.training')}
        </Button>
      )}
      <Button look="quiet" className="hidden! md:inline-flex!" onClick={actions.help}>
        {t('reader.keys')}
      </Button>
    </div>
  )
}

export function SavingState({ store }: { store: StoreApi<Editing> }) {
  const t = useT()
  const saving = useStore(store, (now) => now.saving)
  const edited = useStore(store, (now) => now.revision > 0 || now.pending.length > 0)
  return (
    <p role="status" className="min-h-7 border-t border-line px-3 py-1 text-sm text-muted" data-saving={saving}>
      {edited && t(saving === 'saved' ? 'editor.saved' : saving === 'saving' ? 'editor.saving' : 'editor.waiting')}
    </p>
  )
}
