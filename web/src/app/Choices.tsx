import { LANGUAGES, type Language, setLanguage, useLanguage, useT } from '../i18n'
import { IconButton } from '../ui'
import { Icon } from '../ui/icons'
import { useTheme } from './theme'

/** Language and theme. */
export function Choices() {
  const t = useT()
  const language = useLanguage()
  const { theme, toggle } = useTheme()
  return (
    <div className="flex items-center gap-1">
      <label>
        <span className="sr-only">{t('choice.language')}</span>
        <select
          className="min-h-10 rounded-lg bg-transparent px-2 text-sm hover:bg-sunken"
          value={language}
          onChange={(event) => void setLanguage(event.target.value as Language)}
        >
          {Object.entries(LANGUAGES).map(([code, name]) => (
            <option key={code} value={code} lang={code} className="bg-surface">
              {name}
            </option>
          ))}
        </select>
      </label>
      <IconButton label={t(theme === 'dark' ? 'choice.light' : 'choice.dark')} onClick={toggle}>
        <Icon name={theme === 'dark' ? 'sun' : 'moon'} />
      </IconButton>
    </div>
  )
}
