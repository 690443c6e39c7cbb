import { createHash } from 'node:crypto'
import type { OpenLine } from './invoice.ts'
import type { TokenUsage } from './usage.ts'

/** What one credential used of one model on one day of UTC, as an upstream's own page would list it. */
export interface BillRow {
  readonly day: string
  /** Stands for the credential, which is nobody's to read: `key_` and the beginning of its hash. */
  readonly key: string
  readonly model: string
  readonly requests: number
  readonly input_tokens: number
  readonly cached_tokens: number
  readonly output_tokens: number
  /** Decimal text. */
  readonly cost_usd: string
}

/** Sums instead of lines: a run of millions of calls has an invoice too. */
export interface Bill {
  /** Takes an answer that begins. It counts once it is over; what was refused, or never begun, is not billed. */
  add(line: OpenLine, atMs: number): void
  rows(): BillRow[]
}

export function openBill(): Bill {
  const sums = new Map<string, { day: string; key: string; model: string; requests: number; usage: TokenUsage; nanos: bigint }>()
  let waiting: Beginning[] = []

  /** Counts what is over. */
  function settle(): void {
    const over = waiting.filter(({ line }) => line.ended !== 'running')
    waiting = waiting.filter(({ line }) => line.ended === 'running')
    for (const { line, atMs } of over) count(line, atMs)
  }

  function count(line: OpenLine, atMs: number): void {
    if (!line.answered || line.status !== 200 || line.modelServed === null) return
    const day = new Date(atMs).toISOString().slice(0, 10)
    const id = `${day}\n${line.key}\n${line.modelServed}`
    const sum = sums.get(id)
    if (sum === undefined) {
      sums.set(id, { day, key: labelOf(line.key), model: line.modelServed, requests: 1, usage: line.usage, nanos: line.costNanos })
      return
    }
    sum.requests += 1
    sum.usage = plus(sum.usage, line.usage)
    sum.nanos += line.costNanos
  }

  return {
    add(line, atMs) {
      if (waiting.push({ line, atMs }) > waitingMax) settle()
    },
    rows() {
      settle()
      return [...sums.values()].map(({ day, key, model, requests, usage, nanos }) => ({
        ...{ day, key, model, requests, input_tokens: usage.inputTokens, cached_tokens: usage.cachedTokens },
        ...{ output_tokens: usage.outputTokens, cost_usd: usdText(nanos) },
      }))
    },
  }
}

interface Beginning {
  readonly line: OpenLine
  readonly atMs: number
}

/** So that a run of millions of calls keeps no more than these, and those under way. */
const waitingMax = 1_000

export function labelOf(key: string): string {
  return `key_${createHash('sha256').update(key).digest('hex').slice(0, 12)}`
}

/** RFC 4180, as a spreadsheet takes it. */
export function csvOf(rows: readonly BillRow[]): string {
  const names = ['day', 'key', 'model', 'requests', 'input_tokens', 'cached_tokens', 'output_tokens', 'cost_usd'] as const
  const lines = rows.map(row => names.map(name => quoted(String(row[name]))).join(','))
  return [names.join(','), ...lines].map(line => `${line}\r\n`).join('')
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function usdText(nanos: bigint): string {
  return `${nanos / 1_000_000_000n}.${(nanos % 1_000_000_000n).toString().padStart(9, '0')}`
}

function plus(a: TokenUsage, b: TokenUsage): TokenUsage {
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    cachedTokens: a.cachedTokens + b.cachedTokens,
    cacheWriteTokens: a.cacheWriteTokens + b.cacheWriteTokens,
    cacheWrite12hTokens: a.cacheWrite12hTokens + b.cacheWrite12hTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    reasoningTokens: a.reasoningTokens + b.reasoningTokens,
    webSearches: a.webSearches + b.webSearches,
  }
}
