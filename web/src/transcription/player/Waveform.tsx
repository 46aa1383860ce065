/** The sound as a picture: peaks on a canvas, the place that is heard, and a click that goes there. */

import { useQuery } from '@tanstack/react-query'
import { useEffect, useRef } from 'react'
import { clock } from '../../app/format'
import { useTheme } from '../../app/theme'
import { useT } from '../../i18n'
import { type Peaks, barsOf } from './peaks'
import { peaksOf } from './sound'
import { listen, timeNow, usePlayer } from './usePlayer'

const BAR_PX = 3
const LINE_PX = 2

export function Waveform({ jobId }: { jobId: string }) {
  const t = useT()
  const canvas = useRef<HTMLCanvasElement>(null)
  const peaks = useQuery({
    queryKey: ['peaks', jobId],
    queryFn: ({ signal }) => peaksOf(jobId, signal),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0, // a megabyte of a long recording
  }).data
  const theme = useTheme((state) => state.theme)
  const duration = usePlayer((player) => player.duration_s)
  const seek = usePlayer((player) => player.seek)
  const second = usePlayer((player) => Math.floor(player.time_s))

  useEffect(() => {
    const on = canvas.current
    if (!on) return
    let pictures = picturesOf(on, peaks)
    const draw = () => paint(on, pictures, timeNow() / (duration || 1))
    draw()
    const stop = listen(draw)
    const observer = new ResizeObserver(() => {
      pictures = picturesOf(on, peaks)
      draw()
    })
    observer.observe(on)
    return () => {
      stop()
      observer.disconnect()
    }
  }, [peaks, duration, theme])

  return (
    // a slider over the picture: mouse, finger and arrow keys are the browser's own
    <div className="relative h-14 grow basis-40">
      <canvas ref={canvas} className="absolute inset-0 size-full" aria-hidden="true" data-peaks={peaks?.windows} />
      <input
        type="range"
        aria-label={t('player.place')}
        aria-valuetext={clock(second)}
        min={0}
        max={Math.max(0.1, duration)}
        step={0.1}
        value={second}
        onChange={(event) => seek(Number(event.target.value))}
        className="absolute inset-0 size-full cursor-pointer opacity-0 focus-visible:opacity-100"
      />
    </div>
  )
}

type Pictures = { heard: OffscreenCanvas; ahead: OffscreenCanvas }

/** The bars in both colours, made once for a size: a frame only puts them side by side. */
function picturesOf(canvas: HTMLCanvasElement, peaks: Peaks | undefined): Pictures | null {
  const scale = devicePixelRatio
  const width = Math.round(canvas.clientWidth * scale)
  const height = Math.round(canvas.clientHeight * scale)
  if (!width || !height) return null
  Object.assign(canvas, { width, height })
  const bars = peaks ? barsOf(peaks, Math.floor(width / (BAR_PX * scale))) : new Float32Array(Math.floor(width / (BAR_PX * scale)))
  const style = getComputedStyle(canvas)
  const picture = (colour: string, alpha: number): OffscreenCanvas => {
    const drawn = new OffscreenCanvas(width, height)
    const context = drawn.getContext('2d')
    if (!context) return drawn
    context.fillStyle = style.getPropertyValue(colour)
    context.globalAlpha = alpha
    bars.forEach((peak, bar) => {
      const tall = Math.max(LINE_PX * scale, peak * height * 0.94)
      context.fillRect(bar * BAR_PX * scale, (height - tall) / 2, LINE_PX * scale, tall)
    })
    return drawn
  }
  return { heard: picture('--accent', 1), ahead: picture('--edge', 0.55) }
}

function paint(canvas: HTMLCanvasElement, pictures: Pictures | null, share: number): void {
  const context = canvas.getContext('2d')
  if (!context || !pictures) return
  const { width, height } = canvas
  const at = Math.round(Math.min(1, share) * width)
  context.clearRect(0, 0, width, height)
  if (at > 0) context.drawImage(pictures.heard, 0, 0, at, height, 0, 0, at, height)
  if (at < width) context.drawImage(pictures.ahead, at, 0, width - at, height, at, 0, width - at, height)
  context.fillStyle = getComputedStyle(canvas).getPropertyValue('--text')
  context.fillRect(Math.min(width - LINE_PX * devicePixelRatio, at), 0, LINE_PX * devicePixelRatio, height)
}
