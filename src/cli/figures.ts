import { NotCsv, readCsv } from '../lib/csv.ts'
import { wrong } from './io.ts'

/** A figure as the admin API takes it: what an upstream counted for an account, a model and a day of UTC. */
export interface Figure {
  readonly day: string
  readonly account: string
  readonly model: string
  readonly requests?: number
  readonly inputTokens: number
  readonly cachedTokens?: number
  readonly outputTokens: number
  readonly cost?: string
}

export interface FigureSource {
  /** What the file is called in sentences. */
  readonly shown: string
  /** Everything in it is of this account. */
  readonly account: string | undefined
  /** What the upstream calls it → our account. A name that is not here is an account's own. */
  readonly names: Readonly<Record<string, string>>
}

export interface ReadFigures {
  readonly figures: readonly Figure[]
  /** Columns that say nothing to us. */
  readonly ignored: readonly string[]
}

/**
 * Reads a table with a line of titles, in any order. Throws a `Failure` with a sentence for each line that is wrong, and then takes
 * none: a sum over half of a file would look like a gap.
 */
export function figuresOfCsv(text: string, source: FigureSource): ReadFigures {
  const [titles, ...rows] = rowsOf(text, source.shown)
  if (titles === undefined) throw wrong(`${source.shown} is empty; its first line names the columns: ${wanted}.`)
  const { columns, ignored } = columnsOf(titles.cells, source)
  const table = rows.map(({ line, cells }) => ({
    place: `${source.shown}:${line}`,
    width: cells.length,
    fields: Object.fromEntries([...columns].map(([field, at]) => [field, cells[at]?.trim() ?? ''])),
  }))
  const ragged = table.filter(({ width }) => width !== titles.cells.length)
  const problems = ragged.map(({ place, width }) => `${place}: there are ${width} cells, but ${titles.cells.length} columns.`)
  if (problems.length > 0) throw wrong(shortened(problems))
  return { figures: figuresOf(table, source), ignored }
}

/** Reads `{"data": [{"day": …, "model": …}]}`, with the names that the columns of a table have. */
export function figuresOfInvoice(text: string, source: FigureSource): ReadFigures {
  const rows = invoiceRows(text)
  if (rows === undefined) throw wrong(`${source.shown} is no invoice: it must be a JSON object with a list "data" of objects.`)
  const names = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const { columns, ignored } = rows.length === 0 ? { columns: new Map<Field, number>(), ignored: [] } : columnsOf(names, source)
  const table = rows.map((row, index) => ({
    place: `${source.shown}: data[${index}]`,
    fields: Object.fromEntries([...columns].map(([field, at]) => [field, textOf(row[names[at]!])])),
  }))
  return { figures: figuresOf(table, source), ignored }
}

type Field = 'day' | 'start' | 'end' | 'account' | 'model' | 'requests' | 'inputTokens' | 'cachedTokens' | 'outputTokens' | 'cost'

/** The titles of a column, the first one ours, the others those that upstreams use. */
const titlesOf: Readonly<Record<Field, readonly string[]>> = {
  day: ['day', 'date'],
  start: ['start_time', 'start'],
  end: ['end_time', 'end'],
  account: ['account', 'key', 'api_key', 'key_name', 'api_key_name', 'api_key_id', 'project', 'project_name', 'project_id', 'label'],
  model: ['model'],
  requests: ['requests', 'num_model_requests'],
  inputTokens: ['input_tokens'],
  cachedTokens: ['cached_tokens', 'input_cached_tokens', 'cached_input_tokens'],
  outputTokens: ['output_tokens'],
  cost: ['cost_usd', 'cost', 'amount_usd'],
}

const wanted =
  'day (or start_time and end_time), account (unless --account names it), model, requests, input_tokens, cached_tokens, output_tokens, cost_usd'

function rowsOf(text: string, shown: string) {
  try {
    return readCsv(text)
  } catch (error) {
    if (error instanceof NotCsv) throw wrong(`${shown}, ${error.message}.`)
    throw error
  }
}

function columnsOf(titles: readonly string[], { shown, account }: FigureSource) {
  const columns = new Map<Field, number>()
  const ignored: string[] = []
  for (const [at, title] of titles.entries()) {
    const plain = title.trim().toLowerCase().replaceAll(' ', '_')
    const field = (Object.keys(titlesOf) as Field[]).find(name => titlesOf[name].includes(plain))
    if (field === undefined) ignored.push(title)
    else if (columns.has(field)) throw wrong(`${shown} has two columns for the same: "${titles[columns.get(field)!]}" and "${title}".`)
    else columns.set(field, at)
  }
  const missing = (['model', 'inputTokens', 'outputTokens'] as const).filter(field => !columns.has(field)).map(field => titlesOf[field][0])
  if (!columns.has('day') && !columns.has('start')) missing.unshift('day')
  if (!columns.has('account') && account === undefined) missing.push('account (or --account NAME)')
  if (missing.length > 0) throw wrong(`${shown} has no column ${missing.join(', ')}; it takes ${wanted}.`)
  return { columns, ignored }
}

interface Line {
  /** "usage.csv:12" */
  readonly place: string
  readonly fields: Readonly<Partial<Record<Field, string>>>
}

function figuresOf(table: readonly Line[], source: FigureSource): Figure[] {
  refuseManyLabels(table, source)
  const problems: string[] = []
  const figures = table.map(({ place, fields }) => {
    const tell = (sentence: string) => void problems.push(`${place}: ${sentence}`)
    return figureOf(fields, source, tell)
  })
  if (problems.length > 0) throw wrong(shortened(problems))
  return figures
}

/** `--account` says that all of it is of one account; a file in which several stand is not. */
function refuseManyLabels(table: readonly Line[], { shown, account, names }: FigureSource): void {
  if (account === undefined) return
  const labels = [...new Set(table.map(({ fields }) => fields.account ?? ''))].filter(label => label !== '' && !Object.hasOwn(names, label))
  if (labels.length < 2) return
  throw wrong(`${shown} has figures of ${labels.slice(0, 5).join(', ')}; instead of --account say --map LABEL=ACCOUNT for each.`)
}

type Tell = (sentence: string) => void

function figureOf(fields: Line['fields'], { account, names }: FigureSource, tell: Tell): Figure {
  const label = fields.account ?? ''
  const named = Object.hasOwn(names, label) ? names[label]! : (account ?? label)
  if (named === '') tell('account is empty.')
  if (!fields.model) tell('model is empty.')
  const requests = countOf('requests', fields, tell)
  const cachedTokens = countOf('cachedTokens', fields, tell)
  const cost = costOf(fields.cost, tell)
  return {
    day: dayOf(fields, tell),
    account: named,
    model: fields.model ?? '',
    inputTokens: needed('inputTokens', fields, tell),
    outputTokens: needed('outputTokens', fields, tell),
    ...(requests !== undefined && { requests }),
    ...(cachedTokens !== undefined && { cachedTokens }),
    ...(cost !== undefined && { cost }),
  }
}

type CountField = 'requests' | 'inputTokens' | 'cachedTokens' | 'outputTokens'

function needed(field: CountField, fields: Line['fields'], tell: Tell): number {
  if ((fields[field] ?? '') === '') tell(`${titlesOf[field][0]} is empty; it takes a whole number.`)
  return countOf(field, fields, tell) ?? 0
}

function countOf(field: CountField, fields: Line['fields'], tell: Tell): number | undefined {
  const text = fields[field] ?? ''
  if (text === '') return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  tell(`${titlesOf[field][0]} is ${JSON.stringify(text)}; it takes a whole number, without signs and separators.`)
  return undefined
}

function costOf(text: string | undefined, tell: Tell): string | undefined {
  if (text === undefined || text === '') return undefined
  if (/^\d{1,12}(\.\d{1,9})?$/.test(text)) return text
  tell(`cost_usd is ${JSON.stringify(text)}; it takes USD as decimal text with at most nine decimals, such as 0.0125.`)
  return undefined
}

const secondsPerDay = 86_400

/** The day of UTC; a stretch of time must lie within one, or nobody could say what of it belongs where. */
function dayOf({ day, start = '', end = '' }: Line['fields'], tell: Tell): string {
  if (day !== undefined && day !== '') {
    if (/^\d{4}-\d\d-\d\d$/.test(day) && secondsOf(`${day}T00:00:00Z`) !== undefined) return day
    tell(`day is ${JSON.stringify(day)}; it takes a day of UTC such as 2026-01-31.`)
    return day
  }
  const from = secondsOf(start)
  if (from === undefined) {
    tell(`start_time is ${JSON.stringify(start)}; it takes seconds since 1970, or a time such as 2026-01-31T00:00:00Z.`)
    return ''
  }
  const until = end === '' ? undefined : secondsOf(end)
  const nextDay = (Math.floor(from / secondsPerDay) + 1) * secondsPerDay
  if (end !== '' && until === undefined) tell(`end_time is ${JSON.stringify(end)}; it takes a time as start_time does.`)
  if (until !== undefined && (until < from || until > nextDay)) tell(`from ${start} to ${end} is not within one day of UTC.`)
  return new Date(from * 1000).toISOString().slice(0, 10)
}

function secondsOf(text: string): number | undefined {
  if (/^\d{9,11}$/.test(text)) return Number(text)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined
  const ms = Date.parse(text)
  // JavaScript takes the 30th of February for the 2nd of March.
  const isDay = new Date(`${text.slice(0, 10)}T00:00:00Z`).getUTCDate() === Number(text.slice(8, 10))
  return Number.isNaN(ms) || !isDay ? undefined : ms / 1000
}

function invoiceRows(text: string): readonly Readonly<Record<string, unknown>>[] | undefined {
  try {
    const rows: unknown = JSON.parse(text)?.data
    const isList = Array.isArray(rows) && rows.every(row => typeof row === 'object' && row !== null && !Array.isArray(row))
    return isList ? rows : undefined
  } catch {
    return undefined // What is no JSON is no invoice either, and told in the same sentence.
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value).trim() : ''
}

const problemsShown = 20

function shortened(problems: readonly string[]): string {
  const more = problems.length - problemsShown
  return [...problems.slice(0, problemsShown), ...(more > 0 ? [`And ${more} more.`] : [])].join('\n')
}
