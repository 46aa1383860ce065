import { useT } from '../i18n'
import { Heading } from '../ui'

export default function Transcription() {
  const t = useT()
  return <Heading title={t('nav.transcription')} />
}
