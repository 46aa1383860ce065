import { useT } from '../i18n'
import { Heading } from '../ui'

export default function Admin() {
  const t = useT()
  return <Heading title={t('nav.admin')} />
}
