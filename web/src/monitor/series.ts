/** The rows of a run as lines of a chart. */

import type { Row } from './types'

export type Series = { name: string; steps: number[]; values: number[] }
/** What is drawn, by chart: names of metrics, and what they are multiplied by. */
export const CHARTS = [
  { title: 'chart.loss', names: ['train/loss', 'eval/loss'], factor: 1 },
  { title: 'chart.errors', names: ['eval/wer', 'eval/cer'], factor: 100 },
  { title: 'chart.rate', names: ['train/learning_rate', 'train/lr'], factor: 1 },
  { title: 'chart.speed', names: ['perf/audio_s_per_s', 'perf/samples_per_s'], factor: 1 },
] as const

/** Steps that were made again after a training went back stand in the place of the first. */
export function seriesOf(rows: readonly Row[], name: string, factor: number): Series {
  const by = new Map<number, number>()
  for (const row of rows) {
    const value = row[name]
    if (typeof row.step !== 'number' || typeof value !== 'number' || !Number.isFinite(value)) continue
    const { step } = row
    for (const later of by.keys()) if (later > step) by.delete(later)
    by.set(step, value * factor)
  }
  return { name, steps: [...by.keys()], values: [...by.values()] }
}

/** Lines over one axis of steps, as uPlot takes them: null where a line has no value. */
export function aligned(series: readonly Series[]): (number | null)[][] {
  const steps = [...new Set(series.flatMap((one) => one.steps))].sort((a, b) => a - b)
  return [
    steps,
    ...series.map((one) => {
      const by = new Map(one.steps.map((step, index) => [step, one.values[index] as number]))
      return steps.map((step) => by.get(step) ?? null)
    }),
  ]
}
