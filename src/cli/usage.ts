import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type Column, printJson, printLine, printTable } from './io.ts'
import { printReceipt } from './receipt.ts'
import { type Asked, type Cli, everything, noun, verb } from './verb.ts'
import { positiveNumber, since } from './words.ts'

export function usageCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'usage', 'Calls, what they used and what they cost')
  listUsage(command, cli)
  const show = verb(
    command,
    'show <id>',
    "Show a call's receipt: who, what, which accounts, tokens, money",
    'headgate usage show 0198c0de-…',
  )
  show.action(async (id: string, asked: Asked) => {
    const call = await cli.api().get(pathOf('usage', id))
    if (asked.json) printJson(cli.terminal, call)
    else printReceipt(cli.terminal, call)
  })
}

interface ListAsked extends Asked {
  readonly user?: string
  readonly account?: string
  readonly key?: string
  readonly since?: string
  readonly until?: string
  readonly fault?: string
  readonly limit: number
  readonly all?: true
}

function listUsage(command: Command, cli: Cli): void {
  verb(command, 'list', 'List calls, newest first', 'headgate usage list --user dev@example.com --since 24h')
    .option('--user <email>', 'of one user')
    .option('--account <name>', 'answered by one account')
    .option('--key <id>', 'made with one key')
    .option('--since <time>', 'how far back: 30m, 24h, 7d, or a time such as 2026-01-31T12:00:00Z', since(cli.terminal.nowMs()))
    .option('--until <time>', 'and up to when', since(cli.terminal.nowMs()))
    .option('--fault <name>', 'that ended with one fault, such as line_full')
    .option('--limit <calls>', 'how many', positiveNumber, 50)
    .option('--all', 'all of them')
    .action(async ({ json, limit, all, ...query }: ListAsked) => {
      const page = await cli.api().list(pathOf('usage'), query, all ? everything : limit)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, 'There is no such call.')
      if (page.next !== null) printLine(cli.terminal, 'There are more; --limit says how many to list, --all lists them all.')
    })
}

const columns: readonly Column[] = [
  { title: 'BEGAN', of: call => call.beganAt },
  { title: 'ID', of: call => call.id },
  { title: 'USER', of: call => call.user },
  { title: 'ACCOUNT', of: call => call.account },
  { title: 'MODEL', of: call => call.servedModel ?? call.requestedModel },
  { title: 'STATUS', of: call => call.status, right: true },
  { title: 'ENDED', of: call => call.fault ?? call.ended },
  { title: 'INPUT', of: call => call.inputTokens, right: true },
  { title: 'OUTPUT', of: call => call.outputTokens, right: true },
  { title: 'USD', of: call => call.cost, right: true },
  { title: 'BASIS', of: call => call.basis },
]
