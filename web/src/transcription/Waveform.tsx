/** The sound as a picture: peaks on a canvas, the place that is heard, and a click that goes there. */

import { useEffect, useRef, useState } from 'react'
import { clock } from '../app/format'
import { useTheme } from '../app/theme'
import { useT } from '../i18n'
import { peaksOf } from './loudness'
import type { Player } from './usePlayer'

const BARS = 1200
/** Larger files are not decoded in the browser; the server will hand out their peaks. */
const DECODED_BYTES = 24_000_000

export function Waveform({ sound, player }: { sound: Blob; player: Player }) {
  const t = useT()
  const canvas = useRef<HTMLCanvasElement>(null)
  const peaks = usePeaks(sound)
  const theme = useTheme((state) => state.theme)
  const [shown, setShown] = useState(0)

  useEffect(() => {
    const draw = () => canvas.current && paint(canvas.current, peaks, player.now() / (player.duration || 1))
    draw()
    let second = -1
    const stop = player.listen((seconds) => {
      draw()
      if (Math.floor(seconds) !== second) setShown((second = Math.floor(seconds)))
    })
    const observer = new ResizeObserver(draw)
    if (canvas.current) observer.observe(canvas.current)
    return () => {
      stop()
      observer.disconnect()
    }
  }, [peaks, player, theme])

  return (
    // a slider over the picture: mouse, finger and arrow keys are the browser's own
    <div className="relative h-14 grow">
      <canvas ref={canvas} className="absolute inset-0 size-full" aria-hidden="true" />
      <input
        type="range"
        aria-label={t('player.place')}
        aria-valuetext={clock(shown)}
        min={0}
        max={Math.max(0.1, player.duration)}
        step={0.1}
        value={shown}
        onChange={(event) => player.seek(Number(event.target.value))}
        className="absolute inset-0 size-full cursor-pointer opacity-0 focus-visible:opacity-100"
      />
    </div>
  )
}

function usePeaks(sound: Blob): Float32Array | null {
  const [peaks, setPeaks] = useState<Float32Array | null>(null)
  useEffect(() => {
    if (sound.size > DECODED_BYTES) return
    let gone = false
    const context = new OfflineAudioContext(1, 1, 8000)
    sound
      .arrayBuffer()
      .then((bytes) => context.decodeAudioData(bytes))
      .then((decoded) => !gone && setPeaks(peaksOf(decoded.getChannelData(0), BARS)))
      .catch(() => undefined) // a picture is no reason to fail
    return () => {
      gone = true
    }
  }, [sound])
  return peaks
}

function paint(canvas: HTMLCanvasElement, peaks: Float32Array | null, share: number): void {
  const scale = devicePixelRatio
  const width = Math.round(canvas.clientWidth * scale)
  const height = Math.round(canvas.clientHeight * scale)
  if (!width || !height) return
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
  const style = getComputedStyle(canvas)
  const context = canvas.getContext('2d')
  if (!context) return
  context.clearRect(0, 0, width, height)
  const step = 3 * scale
  const count = Math.floor(width / step)
  for (let bar = 0; bar < count; bar++) {
    const peak = peaks ? (peaks[Math.floor((bar / count) * peaks.length)] ?? 0) : 0
    const tall = Math.max(2 * scale, peak * height * 0.94)
    context.fillStyle = style.getPropertyValue(bar / count <= share ? '--accent' : '--edge')
    context.globalAlpha = bar / count <= share ? 1 : 0.55
    context.fillRect(bar * step, (height - tall) / 2, 2 * scale, tall)
  }
  context.globalAlpha = 1
  context.fillStyle = style.getPropertyValue('--text')
  context.fillRect(Math.min(width - 2 * scale, share * width), 0, 2 * scale, height)
}
