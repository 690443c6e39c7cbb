import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type Column, cell, type Item, itemsOf, printJson, printLine, printTable } from './io.ts'
import { importPrices } from './price-import.ts'
import { type Asked, type Cli, everything, noun, verb } from './verb.ts'
import { collect, decimal, decimalOrNone, positiveNumber, time, timeOrNone, wholeNumber } from './words.ts'

export function priceCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'price', 'The price book: USD per million tokens, by model, tier and context')
  listPrices(command, cli)
  setPrice(command, cli)
  endPrice(command, cli)
  importPrices(command, cli)
}

interface ListAsked extends Asked {
  readonly model?: string
  readonly history?: true
}

function listPrices(command: Command, cli: Cli): void {
  verb(command, 'list', 'List the prices that hold, and those that are planned', 'headgate price list --model gpt-5.1')
    .option('--model <name>', 'of one model only')
    .option('--history', 'earlier versions too')
    .action(async ({ json, ...query }: ListAsked) => {
      const page = await cli.api().list(pathOf('prices'), query, everything)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, 'There is no price yet; `headgate price set` adds one.')
    })
}

const columns: readonly Column[] = [
  { title: 'MODEL', of: price => price.model },
  { title: 'TIER', of: price => price.tier },
  { title: 'OVER', of: price => price.contextOver, right: true },
  { title: 'INPUT', of: price => price.input, right: true },
  { title: 'CACHED', of: price => price.cached, right: true },
  { title: 'WRITE', of: price => price.cacheWrite, right: true },
  { title: 'OUTPUT', of: price => price.output, right: true },
  { title: 'MAX OUTPUT', of: price => price.maxOutput, right: true },
  { title: 'FROM', of: price => price.effectiveFrom },
  { title: 'TO', of: price => price.effectiveTo },
  { title: 'VERSION', of: price => price.id },
]

function setPrice(command: Command, cli: Cli): void {
  const example = 'headgate price set gpt-5.1 --input 1.25 --cached 0.125 --output 10 --web-search 0.01 --file-search 0.0025'
  verb(command, 'set <model>', 'Set a price from now or a later moment on; earlier calls keep theirs', example)
    .requiredOption('--input <usd>', 'a million fresh input tokens', decimal)
    .requiredOption('--output <usd>', 'a million output tokens', decimal)
    .option('--cached <usd>', 'a million cached input tokens; as fresh ones when not given', decimal)
    .option('--cache-write <usd>', 'a million tokens written to the cache; as fresh ones when not given', decimal)
    .option('--cache-write-12h <usd>', 'the same for twelve hours', decimal)
    .option('--web-search <usd>', 'one web search; free when not given, as with none', decimalOrNone)
    .option('--file-search <usd>', 'one file search; free when not given, as with none', decimalOrNone)
    .option('--tier <tier>', 'default, flex, priority, …')
    .option('--context-over <tokens>', 'for calls with more input than this', wholeNumber)
    .option('--max-output <tokens>', 'the most the model can answer', positiveNumber)
    .option('--alias <name>', 'another exact name of the model; may be given several times', collect)
    .option('--source <text>', 'where the price was read')
    .option('--from <time>', 'its first moment, such as 2026-12-01; now when not given', time)
    .option(
      '--until <time>',
      'the first moment after it, when what held before holds again; none: for ever, whatever is planned',
      timeOrNone,
    )
    .action(async (model: string, { json, alias, ...fields }: Item) => {
      const item = await cli.api().send('POST', pathOf('prices'), { model, ...fields, ...(alias !== undefined && { aliases: alias }) })
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `The price of ${model} is set.`)
      printTable(cli.terminal, columns, [item])
      for (const note of leftOut(item, fields)) printLine(cli.terminal, note)
    })
}

/** A price is a whole one: of what was not said, nothing is taken from the one before. */
function leftOut({ cached, webSearch, fileSearch }: Item, said: Item): string[] {
  const notes: string[] = []
  if (said.cached === undefined) notes.push(`Cached input costs what fresh input does, ${cell(cached)}; --cached says otherwise.`)
  if (webSearch === null && said.webSearch === undefined) notes.push('Web searches are free under it; --web-search says otherwise.')
  if (fileSearch === null && said.fileSearch === undefined) notes.push('File searches are free under it; --file-search says otherwise.')
  return notes
}

interface EndAsked extends Asked {
  readonly tier?: string
  readonly contextOver?: number
  readonly at?: string
}

function endPrice(command: Command, cli: Cli): void {
  verb(
    command,
    'end <model>',
    'End a price and what is planned for it; earlier calls keep theirs',
    'headgate price end gpt-5.1 --tier flex',
  )
    .option('--tier <tier>', 'default, flex, priority, …')
    .option('--context-over <tokens>', 'the band for calls with more input than this', wholeNumber)
    .option('--at <time>', 'the first moment without it, such as 2026-12-01; now when not given', time)
    .action(async (model: string, { json, ...fields }: EndAsked) => {
      const answer = await cli.api().send('POST', pathOf('prices', 'end'), { model, ...fields })
      if (json) return printJson(cli.terminal, answer)
      printLine(cli.terminal, `The price of ${model} ends.`)
      printTable(cli.terminal, columns, itemsOf(answer.ended))
    })
}
