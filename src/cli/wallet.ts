import { type Command, InvalidArgumentError } from 'commander'
import { parseUsd } from '../ledger/money.ts'
import { pathOf } from './client.ts'
import { type Column, cell, printJson, printLine, printTable, wrong } from './io.ts'
import { type Asked, type Cli, noun, printResult, verb } from './verb.ts'
import { positiveNumber } from './words.ts'

export function walletCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'wallet', "People's money: a balance, what is held of it, and every entry")
  const show = verb(command, 'show <user>', 'Show what a user has, and how much of it is held', 'headgate wallet show dev@example.com')
  show.action(async (user: string, asked: Asked) => printResult(cli, asked, await cli.api().get(pathOf('wallets', user))))
  moveVerb(command, cli, 'credit')
  moveVerb(command, cli, 'debit')
  entriesVerb(command, cli)
}

interface MoveAsked extends Asked {
  readonly reason: string
  readonly reference?: string
}

function moveVerb(command: Command, cli: Cli, name: 'credit' | 'debit'): void {
  const about = name === 'credit' ? 'Give a user money' : 'Take money from a user, at most what is free'
  const example = `headgate wallet ${name} dev@example.com 5.00 --reason "first month"`
  verb(command, name, about, example)
    .argument('<user>', 'whose wallet')
    .argument('<usd>', 'how much, as decimal text such as 5.00', amount)
    .requiredOption('--reason <text>', 'why; it stands in the entry for ever')
    .option('--reference <text>', 'what caused it, such as a payment; the same one again has no second effect')
    .action(async (user: string, usd: string, { json, ...said }: MoveAsked) => {
      if (said.reason.trim() === '') throw wrong(`A reason says why; as in: ${example}`)
      const item = await cli.api().send('POST', pathOf('wallets', user, name), { amount: usd, ...said })
      if (json) return printJson(cli.terminal, item)
      printLine(
        cli.terminal,
        `${name === 'credit' ? 'Credited' : 'Debited'} ${usd} USD; the balance of ${user} is ${cell(item.balance)} USD.`,
      )
    })
}

interface EntriesAsked extends Asked {
  readonly limit: number
}

function entriesVerb(command: Command, cli: Cli): void {
  const entries = verb(
    command,
    'entries <user>',
    'List what came and went, newest first',
    'headgate wallet entries dev@example.com --limit 20',
  )
  entries.option('--limit <entries>', 'how many', positiveNumber, 50).action(async (user: string, { limit, json }: EntriesAsked) => {
    const page = await cli.api().list(pathOf('wallets', user, 'entries'), {}, limit)
    if (json) return printJson(cli.terminal, page)
    printTable(cli.terminal, columns, page.items, 'There is no entry yet.')
    if (page.next !== null) printLine(cli.terminal, 'There are more; --limit says how many to list.')
  })
}

const columns: readonly Column[] = [
  { title: 'AT', of: entry => entry.createdAt },
  { title: 'KIND', of: entry => entry.kind },
  { title: 'USD', of: entry => entry.amount, right: true },
  { title: 'REASON', of: entry => entry.reason },
  { title: 'AUTHOR', of: entry => entry.author },
  { title: 'REFERENCE', of: entry => entry.reference },
]

/** Checked here too, so that a slip of the hand never leaves this machine. */
function amount(text: string): string {
  try {
    if (parseUsd(text) > 0n) return text
  } catch {
    // Told below, like an amount of nothing.
  }
  throw new InvalidArgumentError('It takes an amount of USD above 0 with at most nine decimals, such as 5.00.')
}
