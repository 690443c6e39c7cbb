import type { Command } from 'commander'
import { pathOf } from './client.ts'
import { type Column, itemsOf, printJson, printLine, printTable } from './io.ts'
import { type Asked, type Cli, verb } from './verb.ts'

export function statusCommand(program: Command, cli: Cli): void {
  verb(program, 'status', 'Show how the gateway and its accounts fare now', 'headgate status').action(async (asked: Asked) => {
    const status = await cli.api().get(pathOf('status'))
    if (asked.json) return printJson(cli.terminal, status)
    printTable(cli.terminal, nodeColumns, itemsOf(status.nodes), 'There is no gateway.')
    printLine(cli.terminal, '')
    printTable(cli.terminal, accountColumns, itemsOf(status.accounts), 'There is no account yet.')
  })
}

const nodeColumns: readonly Column[] = [
  { title: 'GATEWAY', of: node => node.id },
  { title: 'HOST', of: node => node.host },
  { title: 'VERSION', of: node => node.version },
  { title: 'UP', of: node => upText(Number(node.uptimeMs)), right: true },
  { title: 'HEARD', of: node => `${upText(Number(node.heardMsAgo))} ago`, right: true },
  { title: 'RUNNING', of: node => node.callsInFlight, right: true },
  { title: 'WAITING', of: node => node.callsWaiting, right: true },
  { title: 'DRAINS', of: node => node.drains, right: true },
]

const accountColumns: readonly Column[] = [
  { title: 'ACCOUNT', of: account => account.name },
  { title: 'STATE', of: account => account.state },
  { title: 'RUNNING', of: account => account.inFlight, right: true },
  { title: 'UNTIL', of: account => account.until },
  { title: 'CREDENTIAL', of: account => (account.flagged ? 'refused' : 'ok') },
  { title: 'WHY', of: account => account.reason },
]

/** "3 d 4 h", "4 h 5 min", "5 min", "12 s" */
function upText(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min` : `${seconds} s`
}
