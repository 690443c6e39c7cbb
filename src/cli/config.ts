import type { Command } from 'commander'
import { type SettingName, settingNames, settingOf } from '../config/settings.ts'
import type { Config } from '../config.ts'
import { type Column, type Item, printJson, printTable } from './io.ts'
import { type Asked, type Cli, noun, verb } from './verb.ts'

export function configCommand(program: Command, cli: Cli): void {
  const command = noun(program, 'config', 'The settings of this machine')
  const show = verb(
    command,
    'show',
    'Show every setting, its value and where that comes from',
    'headgate config show --config headgate.yaml',
  )
  show.action((asked: Asked) => {
    const items = settingNames.map(name => itemOf(name, cli.config()))
    if (asked.json) return printJson(cli.terminal, { items })
    printTable(cli.terminal, columns, items)
  })
}

const columns: readonly Column[] = [
  { title: 'SETTING', of: item => item.name },
  { title: 'VALUE', of: item => item.value },
  { title: 'UNIT', of: item => item.unit },
  { title: 'FROM', of: item => item.where ?? item.from },
]

/** A secret is only said to be set. */
function itemOf(name: SettingName, { sources }: Config): Item {
  const { value, from, where = null } = sources[name]
  const { kind, unit, show } = settingOf(name)
  const shown = kind === 'integer' || kind === 'integers' || kind === 'networks' ? value : value === null ? null : show(value)
  return { name, value: kind === 'secret' && value !== null ? 'set' : shown, unit, from, where }
}
