/** Play, the waveform, the time and the speed. Opens the sound of its job, and closes it when it leaves the page. */

import { useEffect, useRef, useState } from 'react'
import { clock } from '../../app/format'
import { Trouble } from '../../app/Trouble'
import { useT } from '../../i18n'
import { Button, IconButton } from '../../ui'
import { Icon } from '../../ui/icons'
import { keepSound, soundOfJob } from '../uploads'
import { RATES, openSound, tryAgain, usePlayer } from './usePlayer'
import { Waveform } from './Waveform'

export function PlayerBar({ jobId, duration_s }: { jobId: string; duration_s: number }) {
  const t = useT()
  const [here, setHere] = useState(soundOfJob(jobId))
  const playing = usePlayer((player) => player.playing)
  const rate = usePlayer((player) => player.rate)
  const sound = usePlayer((player) => player.sound)
  const error = usePlayer((player) => player.error)
  const { toggle, setRate } = usePlayer.getState()
  useEffect(() => openSound(jobId, duration_s, here), [jobId, duration_s, here])
  useEffect(() => {
    // a hit of the search says where in the recording it is; the text beside the sound listens by the next frame
    const at = Number(/^#t=([0-9.]+)$/.exec(location.hash)?.[1] ?? Number.NaN)
    if (Number.isNaN(at)) return
    const frame = requestAnimationFrame(() => usePlayer.getState().seek(at))
    return () => cancelAnimationFrame(frame)
  }, [jobId])

  return (
    <div className="border-b border-line">
      <div className="flex items-center gap-3 px-3 py-2">
        <IconButton
          label={t(playing ? 'player.pause' : 'player.play')}
          className="rounded-full! bg-accent text-on-accent! hover:bg-accent-strong!"
          disabled={sound === 'failed'}
          onClick={toggle}
        >
          <Icon name={playing ? 'pause' : 'play'} />
        </IconButton>
        <Waveform jobId={jobId} />
        <Elapsed />
        <label>
          <span className="sr-only">{t('player.speed')}</span>
          <select
            className="min-h-10 rounded-lg bg-transparent px-1 text-sm hover:bg-sunken"
            value={rate}
            onChange={(event) => setRate(Number(event.target.value))}
          >
            {RATES.map((one) => (
              <option key={one} value={one} className="bg-surface">
                {one}×
              </option>
            ))}
          </select>
        </label>
      </div>
      {sound === 'failed' && (
        <div className="px-3 pb-3">
          <Trouble error={error} onRetry={tryAgain} />
          <FromHere
            onSound={(file) => {
              keepSound(jobId, file)
              setHere(file)
            }}
          />
        </div>
      )}
    </div>
  )
}

function Elapsed() {
  const second = usePlayer((player) => Math.floor(player.time_s))
  const duration = usePlayer((player) => player.duration_s)
  return (
    <span className="shrink-0 font-mono text-sm text-muted tabular-nums">
      {clock(second)}
      <span className="hidden sm:inline"> / {clock(duration)}</span>
    </span>
  )
}

/** The sound from a file of this device, where the server has none that can be heard. */
function FromHere({ onSound }: { onSound: (file: File) => void }) {
  const t = useT()
  const file = useRef<HTMLInputElement>(null)
  return (
    <div className="mt-2 flex flex-wrap items-center gap-3 text-sm text-muted">
      <span className="grow">{t('player.none')}</span>
      <Button onClick={() => file.current?.click()}>{t('player.choose')}</Button>
      <input
        ref={file}
        hidden
        type="file"
        data-testid="sound"
        accept="audio/*,video/*"
        onChange={(event) => event.target.files?.[0] && onSound(event.target.files[0])}
      />
    </div>
  )
}
