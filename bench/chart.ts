import { median, shown } from './figures.ts'
import type { Figures } from './measure.ts'
import { valuesOf } from './report.ts'
import type { Results } from './rounds.ts'

/** One group of bars: a figure of everybody of whom it was read. */
interface Panel {
  readonly title: string
  readonly scenario: string
  readonly figure: keyof Figures
  readonly added?: boolean
}

/** Who keeps keys, money and books, and so is dark. */
const withBooks = new Set(['headgate', 'pg+redis'])
const legend = [
  'Dark: Headgate, with keys, limits, money and books. Light: books nothing.',
  'Bars are medians, lines reach from least to most.',
]

const panels: readonly Panel[] = [
  { title: 'CPU µs per JSON call, 50 in flight (less is better)', scenario: 'json50', figure: 'cpuMicros' },
  { title: 'JSON calls per second, 50 in flight, one core (more is better)', scenario: 'json50', figure: 'perSecond' },
  { title: 'Added latency, ms, one call at a time, p50 (less is better)', scenario: 'one', figure: 'p50Ms', added: true },
  { title: 'CPU µs per streamed event, 100 streams (less is better)', scenario: 'streams', figure: 'cpuMicros' },
  { title: 'Added ms to the first event, 100 streams, p50 (less is better)', scenario: 'streams', figure: 'firstP50Ms', added: true },
  { title: 'Memory in MiB, 1,000 streams (less is better)', scenario: 'thousand', figure: 'memoryMiB' },
]

const width = 760
const barsAt = 110
const barsWidth = 520
const rowHeight = 24
const barHeight = 14
const titleHeight = 34
const lineHeight = 20

/** The same figures as the table's, as bars with their least and most, below the lines of the caption. An SVG document that needs nothing else. */
export function chartOf(results: Results, subjects: readonly string[], caption: readonly string[]): string {
  const head = [...caption, ...legend]
  const drawn: string[] = []
  let at = (head.length + 1) * lineHeight
  for (const panel of panels) {
    const rows = subjects
      .filter(name => name !== 'direct')
      .map(name => ({ name, values: valuesOf(results, panel, name).filter(value => !Number.isNaN(value)) }))
      .filter(({ values }) => values.length > 0)
    if (rows.length === 0) continue
    drawn.push(`<text x="10" y="${at + 14}" class="title">${panel.title}</text>`)
    const most = Math.max(...rows.flatMap(({ values }) => values), 0)
    drawn.push(...rows.map(({ name, values }, row) => bar(name, values, { top: at + titleHeight + row * rowHeight - 8, most })))
    at += titleHeight + rows.length * rowHeight + 10
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${at}" font-family="sans-serif" font-size="13">
<style>.title{font-weight:bold}.bar{fill:#9db4c8}.books{fill:#1f6f8b}.spread{stroke:#333;stroke-width:1.5}</style>
<rect width="${width}" height="${at}" fill="#fff"/>
${head.map((line, row) => `<text x="10" y="${(row + 1) * lineHeight}" fill="#555">${line}</text>`).join('\n')}
${drawn.join('\n')}
</svg>
`
}

function bar(name: string, values: readonly number[], { top, most }: { readonly top: number; readonly most: number }): string {
  const lengthOf = (value: number) => (most <= 0 ? 0 : (Math.max(value, 0) / most) * barsWidth)
  const middle = top + barHeight / 2
  const [least, greatest] = [Math.min(...values), Math.max(...values)].map(value => (barsAt + lengthOf(value)).toFixed(1))
  const kind = withBooks.has(name) ? 'books' : 'bar'
  return [
    `<text x="${barsAt - 8}" y="${top + barHeight - 3}" text-anchor="end">${name}</text>`,
    `<rect x="${barsAt}" y="${top}" width="${lengthOf(median(values)).toFixed(1)}" height="${barHeight}" class="${kind}"/>`,
    `<line x1="${least}" x2="${greatest}" y1="${middle}" y2="${middle}" class="spread"/>`,
    `<text x="${barsAt + barsWidth + 12}" y="${top + barHeight - 3}">${shown(median(values))}</text>`,
  ].join('')
}
