import { useT } from '../i18n'
import { Heading } from '../ui'

export default function Speech() {
  const t = useT()
  return <Heading title={t('nav.speech')} />
}
