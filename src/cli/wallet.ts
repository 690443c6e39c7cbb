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
  moveVerb(command, cli, 'adjust')
  refundVerb(command, cli)
  entriesVerb(command, cli)
}

interface MoveAsked extends Asked {
  readonly reason: string
  readonly reference?: string
}

/** What each says of itself, how much it takes, and what it says when it is done. */
const moves = {
  credit: { about: 'Give a user money', usd: 'how much, as decimal text such as 5.00', sample: '5.00', done: 'Credited' },
  debit: {
    about: 'Take money from a user, at most what is free',
    usd: 'how much, as decimal text such as 5.00',
    sample: '5.00',
    done: 'Debited',
  },
  adjust: {
    about: "Correct a user's balance, up or down",
    usd: 'by how much, such as 5.00 or -5.00',
    sample: '-0.50',
    done: 'Adjusted by',
  },
}

function moveVerb(command: Command, cli: Cli, name: keyof typeof moves): void {
  const { about, usd, sample, done } = moves[name]
  const example = `headgate wallet ${name} dev@example.com ${sample} --reason "first month"`
  verb(command, name, about, example)
    .argument('<user>', 'whose wallet')
    .argument('<usd>', usd, name === 'adjust' ? signedAmount : amount)
    .requiredOption('--reason <text>', 'why; it stands in the entry for ever')
    .option('--reference <text>', 'what caused it, such as a payment; the same one again has no second effect')
    .action(async (user: string, usd: string, { json, ...said }: MoveAsked) => {
      if (said.reason.trim() === '') throw wrong(`A reason says why; as in: ${example}`)
      const item = await cli.api().send('POST', pathOf('wallets', user, name), { amount: usd, ...said })
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `${done} ${usd} USD; the balance of ${user} is ${cell(item.balance)} USD.`)
    })
}

interface RefundAsked extends Asked {
  readonly reason: string
  readonly usd?: string
}

function refundVerb(command: Command, cli: Cli): void {
  const example = 'headgate wallet refund 0198c0de-… --usd 0.50 --reason "a broken answer"'
  verb(command, 'refund <call-id>', 'Give back what a call was charged, once, to whoever paid it', example)
    .option('--usd <amount>', 'how much of it; all when it is left out', amount)
    .requiredOption('--reason <text>', 'why; it stands on the receipt for ever')
    .action(async (id: string, { usd, reason, json }: RefundAsked) => {
      if (reason.trim() === '') throw wrong(`A reason says why; as in: ${example}`)
      const item = await cli.api().send('POST', pathOf('usage', id, 'refund'), { reason, ...(usd === undefined ? {} : { amount: usd }) })
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `Gave back ${cell(item.refunded)} of the ${cell(item.charged)} USD that the call ${id} was charged.`)
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

function signedAmount(text: string): string {
  try {
    if (parseUsd(text) !== 0n) return text
  } catch {
    // Told below, like an amount of nothing.
  }
  throw new InvalidArgumentError('It takes an amount of USD above or below 0 with at most nine decimals, such as 5.00 or -5.00.')
}

/** Checked here too, so that a slip of the hand never leaves this machine. */
function amount(text: string): string {
  try {
    if (parseUsd(text) > 0n) return text
  } catch {
    // Told below, like an amount of nothing.
  }
  throw new InvalidArgumentError('It takes an amount of USD above 0 with at most nine decimals, such as 5.00.')
}
