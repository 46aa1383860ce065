/** A text to be heard: sentence by sentence while it is made, in any voice, and to be taken along. */

import { useMutation } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import { useDefaultModel } from '../api/queries'
import { languageName } from '../app/languages'
import { saveAs } from '../app/save'
import { Trouble } from '../app/Trouble'
import { useLanguage, useT } from '../i18n'
import { Button, Card, FIELD, Heading, IconButton, Select } from '../ui'
import { Icon } from '../ui/icons'
import { textOfDocument } from './documents'
import { FORMATS, type Format, type Voice, sentencesOf, speak, translate } from './speak'
import { type Line, useReading } from './useReading'

const SPEEDS = [0.7, 0.85, 1, 1.15, 1.3, 1.5]
/** Voices and translators of this page's languages come first. */
const OURS = ['mg', 'fr', 'en']

export default function Speech() {
  const t = useT()
  const [text, setText] = useState('')
  const [voice, setVoice] = useState<Voice>({ language: 'mg', voice: '', speed: 1 })
  const [from, setFrom] = useState('')
  const reading = useReading()
  const file = useRef<HTMLInputElement>(null)

  const open = useMutation({ mutationFn: textOfDocument, onSuccess: setText })
  const read = useMutation({
    mutationFn: async () => {
      let said = text
      if (from && from !== voice.language) {
        said = await translate(text, from, voice.language, new AbortController().signal)
        setText(said)
        setFrom('')
      }
      const { items } = await sentencesOf(said, voice.language)
      reading.load(items)
      void reading.play(0, voice)
    },
  })
  const reads = reading.heard >= 0 || reading.lines.some((line) => line.making)

  return (
    <>
      <Heading title={t('nav.speech')} />
      <div className="grid items-start gap-4 lg:grid-cols-[1fr_18rem]">
        <Card className="space-y-3">
          <label className="block">
            <span className="sr-only">{t('speech.text')}</span>
            <textarea
              className={`${FIELD} min-h-44 resize-y leading-relaxed`}
              lang={from || voice.language}
              placeholder={t('speech.placeholder')}
              value={text}
              onChange={(event) => setText(event.target.value)}
            />
          </label>
          <div className="flex flex-wrap items-center gap-2">
            {reads ? (
              <Button look="primary" onClick={reading.stop}>
                <Icon name="stop" className="size-4" />
                {t('speech.stop')}
              </Button>
            ) : (
              <Button look="primary" disabled={!text.trim() || read.isPending} onClick={() => read.mutate()}>
                <Icon name="play" className="size-4" />
                {t(read.isPending ? 'state.working' : from ? 'speech.translateAndRead' : 'speech.read')}
              </Button>
            )}
            <Button onClick={() => file.current?.click()}>
              <Icon name="transcription" className="size-4" />
              {t('speech.open')}
            </Button>
            <span className="ml-auto text-sm text-muted tabular-nums">{t('speech.letters', { n: text.length })}</span>
            <input
              ref={file}
              hidden
              type="file"
              data-testid="document"
              accept=".txt,.md,.srt,.vtt,.docx"
              onChange={(event) => {
                const one = event.target.files?.[0]
                if (one) open.mutate(one)
                event.target.value = ''
              }}
            />
          </div>
          {open.isError && <Trouble error={open.error} />}
          {read.isError && <Trouble error={read.error} onRetry={() => read.mutate()} />}
        </Card>
        <Card className="space-y-3">
          <VoiceChoice voice={voice} onChange={setVoice} from={from} onFrom={setFrom} />
          <Download text={text} voice={voice} />
        </Card>
      </div>
      {reading.lines.length > 0 && (
        <section className="mt-5" aria-label={t('speech.sentences')}>
          <h2 className="mb-2 text-sm font-semibold text-muted">{t('speech.sentences')}</h2>
          <ol className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface">
            {reading.lines.map((line, index) => (
              <SentenceRow
                key={index}
                line={line}
                heard={index === reading.heard}
                language={voice.language}
                onPlay={() => void reading.play(index, voice, true)}
                onAgain={() => void reading.again(index, voice)}
                onChoose={(take) => reading.choose(index, take)}
              />
            ))}
          </ol>
        </section>
      )}
    </>
  )
}

function VoiceChoice({
  voice,
  onChange,
  from,
  onFrom,
}: {
  voice: Voice
  onChange: (voice: Voice) => void
  from: string
  onFrom: (language: string) => void
}) {
  const t = useT()
  const shown = useLanguage()
  const speech = useDefaultModel('tts')
  const translator = useDefaultModel('translate')
  const languages = [...(speech?.languages ?? OURS)].sort(
    (a, b) => rank(a) - rank(b) || languageName(a, shown).localeCompare(languageName(b, shown)),
  )
  const sources = (translator?.languages ?? []).filter((code) => code !== voice.language)
  return (
    <>
      <Select
        label={t('talk.language')}
        value={voice.language}
        onChange={(event) => onChange({ ...voice, language: event.target.value })}
      >
        {languages.map((code) => (
          <option key={code} value={code}>
            {languageName(code, shown)}
          </option>
        ))}
      </Select>
      {(speech?.voices?.length ?? 0) > 0 && (
        <Select
          label={t('talk.voice')}
          value={voice.voice}
          onChange={(event) => onChange({ ...voice, voice: event.target.value })}
        >
          <option value="">{t('talk.usualVoice')}</option>
          {speech?.voices?.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </Select>
      )}
      <Select
        label={t('player.speed')}
        value={voice.speed}
        onChange={(event) => onChange({ ...voice, speed: Number(event.target.value) })}
      >
        {SPEEDS.map((speed) => (
          <option key={speed} value={speed}>
            {speed}×
          </option>
        ))}
      </Select>
      {sources.length > 0 && (
        <Select label={t('speech.from')} value={from} onChange={(event) => onFrom(event.target.value)}>
          <option value="">{t('speech.noTranslation')}</option>
          {sources.map((code) => (
            <option key={code} value={code}>
              {languageName(code, shown)}
            </option>
          ))}
        </Select>
      )}
    </>
  )
}

const rank = (code: string): number => (OURS.includes(code) ? OURS.indexOf(code) : OURS.length)

/** The whole text as one file. */
function Download({ text, voice }: { text: string; voice: Voice }) {
  const t = useT()
  const [format, setFormat] = useState<Format>('mp3')
  const make = useMutation({
    mutationFn: () => speak(text, voice, format, new AbortController().signal),
    onSuccess: (sound) => saveAs(sound, `${text.trim().slice(0, 40).replace(/[^\p{L}\p{N} -]/gu, '') || 'milo'}.${format}`),
  })
  return (
    <div className="border-t border-line pt-3">
      <div className="flex items-end gap-2">
        <Select
          label={t('speech.file')}
          className="grow"
          value={format}
          onChange={(event) => setFormat(event.target.value as Format)}
        >
          {FORMATS.map((one) => (
            <option key={one} value={one}>
              {one.toUpperCase()}
            </option>
          ))}
        </Select>
        <Button disabled={!text.trim() || make.isPending} onClick={() => make.mutate()}>
          <Icon name="download" className="size-4" />
          {t(make.isPending ? 'state.working' : 'export.title')}
        </Button>
      </div>
      {make.isError && (
        <div className="mt-3">
          <Trouble error={make.error} />
        </div>
      )}
    </div>
  )
}

function SentenceRow({
  line,
  heard,
  language,
  onPlay,
  onAgain,
  onChoose,
}: {
  line: Line
  heard: boolean
  language: string
  onPlay: () => void
  onAgain: () => void
  onChoose: (take: number) => void
}) {
  const t = useT()
  return (
    <li className={`flex items-start gap-2 border-l-4 px-2 py-2 ${heard ? 'border-accent bg-accent-soft' : 'border-transparent'}`}>
      <IconButton label={t('speech.hear', { text: line.text.slice(0, 60) })} disabled={!line.spoken} onClick={onPlay}>
        <Icon name="play" className="size-4" />
      </IconButton>
      <div className="min-w-0 grow pt-2" lang={language}>
        <p className="break-words">{line.text}</p>
        {line.spoken !== line.text && line.spoken && (
          <p className="text-sm break-words text-muted">
            <span className="sr-only">{t('speech.saidAs')} </span>
            {line.spoken}
          </p>
        )}
        {!line.spoken && <p className="text-sm text-muted">{t('speech.nothing')}</p>}
        {line.making && (
          <p className="animate-pulse text-sm text-muted" role="status">
            {t('state.working')}
          </p>
        )}
        {line.error !== null && <Trouble error={line.error} onRetry={onAgain} />}
      </div>
      {line.takes.length > 1 && (
        <div role="group" aria-label={t('speech.takes')} className="flex pt-0.5">
          {line.takes.map((take, index) => (
            <button
              key={index}
              type="button"
              aria-pressed={index === line.chosen}
              title={`${take.voice.voice || t('talk.usualVoice')} · ${take.voice.speed}×`}
              onClick={() => onChoose(index)}
              className={`min-h-9 min-w-9 border border-line text-sm first:rounded-l-lg last:rounded-r-lg ${index === line.chosen ? 'bg-accent text-on-accent' : 'hover:bg-sunken'}`}
            >
              {String.fromCharCode(65 + (index % 26))}
            </button>
          ))}
        </div>
      )}
      {line.takes.length > 0 && (
        <IconButton label={t('speech.again')} disabled={line.making} onClick={onAgain}>
          <Icon name="retry" className="size-4" />
        </IconButton>
      )}
    </li>
  )
}
