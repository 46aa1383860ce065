import { useEffect, useMemo, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useTheme } from '../app/theme'
import { useLanguage, useT } from '../i18n'
import { type Series, aligned } from './series'

/** Lines over steps. Fetched only where there is something to draw. */
export default function Chart({ title, series }: { title: string; series: Series[] }) {
  const t = useT()
  const language = useLanguage()
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const theme = useTheme((state) => state.theme)
  const data = useMemo(() => aligned(series) as uPlot.AlignedData, [series])
  const names = series.map((one) => one.name).join(' ')
  const latest = useRef(data)
  latest.current = data

  useEffect(() => {
    const element = box.current
    if (!element) return
    const style = getComputedStyle(element)
    const colour = (name: string) => style.getPropertyValue(name).trim()
    const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } }
    const strokes = [colour('--accent'), colour('--warn'), colour('--danger')]
    const made = new uPlot(
      {
        width: element.clientWidth || 300,
        height: 200,
        scales: { x: { time: false } },
        axes: [axis, { ...axis, size: 56 }],
        series: [
          { label: t('chart.step') },
          ...names.split(' ').map((label, index) => ({ label, stroke: strokes[index], width: 2, spanGaps: true })),
        ],
      },
      latest.current,
      element,
    )
    plot.current = made
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: 200 }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
    // drawn anew for another theme, language or set of lines; new values only move the lines
  }, [theme, language, names])

  useEffect(() => plot.current?.setData(data), [data])

  const last = series.map((one) => `${one.name} ${one.values.at(-1)?.toPrecision(4) ?? ''}`).join(', ')
  return (
    <figure className="min-w-0">
      <figcaption className="mb-1 text-sm font-medium">{title}</figcaption>
      <div ref={box} role="img" aria-label={`${title}: ${last}`} className="w-full" />
    </figure>
  )
}
