import { type Command, Option } from 'commander'
import { addVerb, type Cli, type Fields, type Kind, listVerb, noun, removeVerb, setVerb, showVerb } from './verb.ts'
import { decimal, wholeNumberOrNone } from './words.ts'

export function groupCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'group', 'Pools of accounts, with a price multiplier and a way of paying')
  const kind: Kind = { cli, command, path: 'groups', word: 'group', argument: '<name>', sample: 'default', columns }
  addVerb(kind, fields)
  listVerb(kind)
  showVerb(kind)
  setVerb(kind, fields)
  removeVerb(kind)
}

const columns: Kind['columns'] = [
  { title: 'NAME', of: group => group.name },
  { title: 'MULTIPLIER', of: group => group.multiplier, right: true },
  { title: 'PAYS BY', of: group => group.pays },
  { title: 'UNPRICED', of: group => group.unpriced },
  { title: 'CLIENT LEFT', of: group => group.onClientLeft },
]

const fields: Fields = {
  addExample: 'headgate group add default --multiplier 1.2',
  setExample: 'headgate group set default --on-client-left abort',
  options(command, isNew) {
    if (!isNew) command.option('--name <name>', 'another name')
    command
      .option('--multiplier <decimal>', 'times what the price book says; 0 is free', decimal)
      .addOption(new Option('--pays <how>', 'what pays for its calls').choices(['balance', 'subscription']))
      .addOption(new Option('--unpriced <what>', 'what a model without a price means here').choices(['refuse', 'free']))
      .addOption(new Option('--on-client-left <what>', 'what becomes of an answer whose client left').choices(['drain', 'abort']))
      .option(
        '--first-event-limit-ms <ms>',
        'how long a stream may take to begin before another account is asked, or none',
        wholeNumberOrNone,
      )
  },
}
