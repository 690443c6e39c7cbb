import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type FigureSource, figuresOfCsv, figuresOfInvoice, type ReadFigures } from './figures.ts'
import { type Column, cell, Failure, type Item, itemsOf, printJson, printLine, printTable, type Terminal, wrong } from './io.ts'
import { type Asked, type Cli, verb } from './verb.ts'
import { collect, collectName, since, wholeNumber } from './words.ts'

interface ReconcileAsked extends Asked {
  readonly since: string
  readonly until?: string
  readonly csv?: string
  readonly invoice?: string
  readonly account?: string
  readonly map?: Readonly<Record<string, string>>
  readonly costDecimals?: number
  readonly covers?: readonly string[]
}

export function reconcileCommand(program: Command, cli: Cli): void {
  const { terminal } = cli
  const about = "Hold our sums against an upstream's own figures; exits with 1 when a gap is not explained"
  verb(program, 'reconcile', about, 'headgate reconcile --since 7d --csv usage.csv --account openai')
    .requiredOption('--since <time>', 'from the day of UTC in which this lies: 7d, 2026-01-31', since(terminal.nowMs()))
    .option(
      '--until <time>',
      'up to the day before this one, or through the day in which this lies; now when not given',
      since(terminal.nowMs()),
    )
    .option('--csv <file>', 'a table with titles: day, account, model, requests, input_tokens, cached_tokens, output_tokens, cost_usd')
    .option('--invoice <url or file>', 'the same as JSON: {"data": [{"day": …}]}')
    .option('--account <name>', 'the account whose figures these are, when they do not say so')
    .option('--map <label=account>', 'which account is meant by a name in the figures; may be given several times', collectName)
    .option('--covers <account>', 'an account of which they would say if anything had been used; may be given several times', collect)
    .option('--cost-decimals <count>', 'decimals to which the upstream rounds each cost; exact when not given', wholeNumber)
    .action(async (asked: ReconcileAsked) => {
      const { figures, ignored } = await readFigures(asked, terminal)
      if (!asked.json && ignored.length > 0) printLine(terminal, `Not looked at: the columns ${cell(ignored)}.`)
      const { account, covers = [], costDecimals, since: from, until = new Date(terminal.nowMs()).toISOString() } = asked
      const accounts = [...covers, ...(account === undefined ? [] : [account])]
      const sent = { since: from, until, accounts, figures, ...(costDecimals !== undefined && { costDecimals }) }
      tell(await cli.api().send('POST', pathOf('reconcile'), sent), asked, terminal)
    })
}

async function readFigures({ csv, invoice, account, map = {} }: ReconcileAsked, terminal: Terminal): Promise<ReadFigures> {
  if ((csv === undefined) === (invoice === undefined)) throw wrong('Say where the figures are: either --csv FILE or --invoice URL.')
  const source: FigureSource = { shown: csv ?? invoice!, account, names: map }
  if (csv !== undefined) return figuresOfCsv(readText(csv, terminal), source)
  const text = /^https?:\/\//.test(invoice!) ? await fetchText(invoice!) : readText(invoice!, terminal)
  return figuresOfInvoice(text, source)
}

function readText(file: string, { cwd }: Terminal): string {
  try {
    return readFileSync(resolve(cwd, file), 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    throw wrong(`${file} cannot be read: ${code === 'ENOENT' ? 'there is no such file' : String(code ?? error)}.`)
  }
}

const invoiceTimeoutMs = 60_000

async function fetchText(url: string): Promise<string> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(invoiceTimeoutMs) })
    if (answer.ok) return await answer.text()
    throw new Failure(`The invoice at ${url} was answered with status ${answer.status}.`)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(`The invoice at ${url} cannot be read: ${error instanceof Error ? error.message : String(error)}.`)
  }
}

/** Fails closed: an answer without a count of what is unexplained is no proof that there is nothing. */
function tell(answer: Item, { json }: Asked, terminal: Terminal): void {
  const { unexplained, outside, notCovered } = answer
  if (typeof unexplained !== 'number') throw new Failure('The gateway did not say whether the sums agree; is its version the same?')
  if (json) printJson(terminal, answer)
  else {
    printTable(terminal, columns, itemsOf(answer.lines), 'Neither side has anything in these days.')
    if (typeof outside === 'number' && outside > 0) printLine(terminal, `Not looked at: ${outside} figures of other days.`)
    if (Array.isArray(notCovered) && notCovered.length > 0)
      printLine(
        terminal,
        `Not compared: ${notCovered.join(', ')}, of which the figures say nothing; --covers names an account that they cover.`,
      )
    if (unexplained === 0) printLine(terminal, 'Nothing is unexplained.')
  }
  if (unexplained > 0) throw new Failure(`${unexplained} ${unexplained === 1 ? 'line is' : 'lines are'} unexplained.`)
}

const side = (name: string, field: string) => (line: Item) => (line[name] as Item | undefined)?.[field]

const columns: readonly Column[] = [
  { title: 'DAY', of: line => line.day },
  { title: 'ACCOUNT', of: line => line.account },
  { title: 'MODEL', of: line => line.model },
  { title: 'CALLS', of: side('ours', 'requests'), right: true },
  { title: 'THEIRS', of: side('theirs', 'requests'), right: true },
  { title: 'INPUT', of: side('ours', 'inputTokens'), right: true },
  { title: 'GAP', of: side('difference', 'inputTokens'), right: true },
  { title: 'CACHED GAP', of: side('difference', 'cachedTokens'), right: true },
  { title: 'OUTPUT', of: side('ours', 'outputTokens'), right: true },
  { title: 'GAP', of: side('difference', 'outputTokens'), right: true },
  { title: 'USD', of: side('ours', 'cost'), right: true },
  { title: 'THEIRS', of: side('theirs', 'cost'), right: true },
  { title: 'GAP', of: side('difference', 'cost'), right: true },
  { title: 'VERDICT', of: line => line.verdict },
  { title: 'WHY', of: line => (Array.isArray(line.causes) ? line.causes.join('; ') : undefined) },
]
