import { readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import type { Candidate, Candidates } from '../directory/price-import/candidates.ts'
import { readGenai } from '../directory/price-import/genai.ts'
import { readLitellm } from '../directory/price-import/litellm.ts'
import { Unreadable } from '../directory/price-import/literal.ts'
import { publicPrices } from '../directory/public-prices.ts'
import { formatUsd } from '../ledger/money.ts'
import { pathOf } from './client.ts'
import { type Column, cell, type Item, itemsOf, printJson, printLine, printTable, type Terminal, wrong } from './io.ts'
import { type Asked, type Cli, verb } from './verb.ts'
import { collect } from './words.ts'

interface ImportAsked extends Asked {
  readonly accept?: readonly string[]
  readonly seen?: string
}

export function importPrices(command: Command, cli: Cli): void {
  const about = 'Show what prices from elsewhere would change: public (those that Headgate knows), genai-prices, litellm'
  verb(command, 'import <source> [file]', about, 'headgate price import litellm model_prices_and_context_window.json')
    .option('--accept <model>', 'make the change for this model, or for all; may be given several times', collect)
    .option('--seen <fingerprint>', 'only if it is still the proposal that was shown with this fingerprint')
    .addHelpText('after', '\nFor genai-prices the file is its data.json or the folder of the installed package @pydantic/genai-prices.')
    .action(async (source: string, file: string | undefined, asked: ImportAsked) => {
      const found = candidatesOf(source, file, cli.terminal)
      const prices = found.prices.map(fieldsOf)
      const proposal = await cli.api().send('POST', pathOf('prices', 'proposal'), { prices })
      if (asked.accept === undefined) return show(cli.terminal, proposal, found, asked)
      const models = asked.accept.includes('all') ? undefined : asked.accept
      const fingerprint = asked.seen ?? proposal.fingerprint
      const answer = await cli.api().send('POST', pathOf('prices', 'proposal', 'accept'), { prices, fingerprint, models })
      if (asked.json) return printJson(cli.terminal, answer)
      printLine(cli.terminal, `${cell(answer.lines)} lines of the price book are changed; calls that began before keep their price.`)
    })
}

function candidatesOf(source: string, file: string | undefined, terminal: Terminal): Candidates {
  const nowMs = terminal.nowMs()
  if (source === 'public') return publicCandidates(nowMs)
  if (source !== 'genai-prices' && source !== 'litellm')
    throw wrong(`There are no prices ${JSON.stringify(source.slice(0, 60))}; it takes public, genai-prices or litellm.`)
  if (file === undefined) throw wrong(`Say which file: headgate price import ${source} FILE`)
  const text = read(file, terminal)
  try {
    const from = `${source === 'litellm' ? 'a LiteLLM price file' : '@pydantic/genai-prices'}, imported ${new Date(nowMs).toISOString().slice(0, 10)}`
    return source === 'litellm' ? readLitellm(text, from) : readGenai(text, from, nowMs)
  } catch (error) {
    if (error instanceof Unreadable) throw wrong(`${file} is no price file: ${error.message}.`)
    throw error
  }
}

function publicCandidates(nowMs: number): Candidates {
  const prices = publicPrices(nowMs).map(({ draft: { aliases: _, webSearch, fileSearch, maxOutput, source, ...rates }, span }) => ({
    ...{ ...rates, source: source ?? 'public' },
    ...(webSearch !== null && { webSearch }),
    ...(fileSearch !== null && { fileSearch }),
    ...(maxOutput !== null && { maxOutput }),
    ...(span.fromMs > nowMs && { fromMs: span.fromMs }),
    ...(span.untilMs !== null && { untilMs: span.untilMs }),
  }))
  return { prices, notes: [], leftOut: [] }
}

/** LiteLLM's is under two million; a file of another kind is not worth reading to its end. */
const fileBytesMax = 16 * 1024 * 1024

function read(file: string, terminal: Terminal): string {
  try {
    const path = resolve(terminal.cwd, file)
    const found = statSync(path).isDirectory() ? join(path, 'dist', 'index.js') : path
    if (statSync(found).size > fileBytesMax) throw wrong(`${file} is larger than ${fileBytesMax / 1024 / 1024} MiB; no price file is.`)
    return readFileSync(found, 'utf8')
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error
    throw wrong(`${file} cannot be read: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}.`)
  }
}

/** As the admin API takes it: money as decimal text, times as RFC 3339. */
function fieldsOf({ fromMs, untilMs, ...price }: Candidate): Item {
  const fields = Object.entries(price).map(([name, value]) => [name, typeof value === 'bigint' ? formatUsd(value) : value])
  return {
    ...Object.fromEntries(fields),
    ...(fromMs !== undefined && { from: new Date(fromMs).toISOString() }),
    ...(untilMs !== undefined && { until: new Date(untilMs).toISOString() }),
  }
}

const columns: readonly Column[] = [
  { title: 'WHAT', of: change => change.action },
  { title: 'MODEL', of: change => change.model },
  { title: 'TIER', of: change => change.tier },
  { title: 'OVER', of: change => change.contextOver, right: true },
  { title: 'FROM', of: change => change.from ?? 'now' },
  { title: 'DIFFERENCE', of: differenceText },
]

function differenceText(change: Item): string {
  if (change.action === 'refused') return cell(change.why)
  const fields = Object.entries((change.fields ?? {}) as Item).map(([field, one]) => [field, one as Item] as const)
  if (change.action === 'changed') return fields.map(([field, { from, to }]) => `${field}: ${cell(from)} → ${cell(to)}`).join(', ')
  return `input ${cell(change.input)}, cached ${cell(change.cached)}, output ${cell(change.output)}`
}

function show(terminal: Terminal, proposal: Item, { notes, leftOut }: Candidates, { json }: Asked): void {
  if (json) return printJson(terminal, { ...proposal, notes, leftOut })
  const changes = itemsOf(proposal.changes)
  printTable(terminal, columns, changes, 'The price book says all of it already.')
  printLine(terminal, `\n${changes.length} lines would change, ${cell(proposal.unchanged)} stay; nothing was done.`)
  for (const note of notes) printLine(terminal, `Note: ${cell(note)}`)
  for (const { model, why } of leftOut) printLine(terminal, `Left out: ${cell(model)}, because ${cell(why)}.`)
  if (changes.length > 0)
    printLine(terminal, `To make the change, the same with: --seen ${cell(proposal.fingerprint)} --accept all (or --accept MODEL)`)
}
