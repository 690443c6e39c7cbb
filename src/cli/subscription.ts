import { type Command, Option } from 'commander'
import { pathOf } from './client.ts'
import { type Column, cell, type Item, printJson, printLine, printTable } from './io.ts'
import { type Asked, type Cli, everything, noun, verb } from './verb.ts'
import { decimalOrNone, positiveNumber, time } from './words.ts'

export function subscriptionCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'subscription', "People's share of a group for a time")
  assignVerb(command, cli)
  listSubscriptions(command, cli)
  const end = verb(command, 'end <id>', 'End a subscription now', 'headgate subscription end 0198c0de-…')
  end.action(async (id: string, asked: Asked) => {
    const item = await cli.api().send('POST', pathOf('subscriptions', id, 'end'))
    if (asked.json) return printJson(cli.terminal, item)
    printLine(cli.terminal, `The subscription ${id} has ended.`)
  })
}

function assignVerb(command: Command, cli: Cli): void {
  const example = 'headgate subscription assign --user dev@example.com --group team --days 30 --daily 5.00'
  verb(command, 'assign', 'Give a user a share of a group', example)
    .requiredOption('--user <email>', 'who')
    .requiredOption('--group <name>', 'of which group')
    .option('--starts-at <time>', 'when it begins; now when not given', time)
    .addOption(new Option('--ends-at <time>', 'when it ends').argParser(time).conflicts('days'))
    .option('--days <days>', 'or how many days it lasts', positiveNumber)
    .option('--daily <usd>', 'the most in each window of 24 h, or none', decimalOrNone)
    .option('--weekly <usd>', 'the most in each window of 7 × 24 h, or none', decimalOrNone)
    .option('--monthly <usd>', 'the most in each window of 30 × 24 h, or none', decimalOrNone)
    .action(async ({ json, daily, weekly, monthly, ...fields }: Item) => {
      const limits = { dailyLimit: daily, weeklyLimit: weekly, monthlyLimit: monthly }
      const item = await cli.api().send('POST', pathOf('subscriptions'), { ...fields, ...limits })
      if (json) return printJson(cli.terminal, item)
      printLine(cli.terminal, `${cell(fields.user)} has a share of ${cell(fields.group)} until ${cell(item.endsAt)}.`)
    })
}

interface ListAsked extends Asked {
  readonly user?: string
}

function listSubscriptions(command: Command, cli: Cli): void {
  verb(command, 'list', 'List the subscriptions', 'headgate subscription list --user dev@example.com')
    .option('--user <email>', 'of one user only')
    .action(async ({ json, ...query }: ListAsked) => {
      const page = await cli.api().list(pathOf('subscriptions'), query, everything)
      if (json) return printJson(cli.terminal, page)
      printTable(cli.terminal, columns, page.items, 'There is no subscription yet.')
    })
}

const columns: readonly Column[] = [
  { title: 'ID', of: subscription => subscription.id },
  { title: 'USER', of: subscription => subscription.user },
  { title: 'GROUP', of: subscription => subscription.group },
  { title: 'FROM', of: subscription => subscription.startsAt },
  { title: 'TO', of: subscription => subscription.endsAt },
  { title: 'DAILY', of: subscription => subscription.dailyLimit, right: true },
  { title: 'WEEKLY', of: subscription => subscription.weeklyLimit, right: true },
  { title: 'MONTHLY', of: subscription => subscription.monthlyLimit, right: true },
]
