/*
 * plan_commands.h - the subcommands of `tlp plan`; each returns the exit
 * status.
 */
#ifndef PLAN_COMMANDS_H
#define PLAN_COMMANDS_H

int plan_make(int argc, char **argv);
int plan_adjust(int argc, char **argv);
int plan_carry(int argc, char **argv);
int plan_bake(int argc, char **argv);
int plan_train(int argc, char **argv);
int plan_merge(int argc, char **argv);
int plan_show(int argc, char **argv);
int plan_check(int argc, char **argv);
int plan_diff(int argc, char **argv);

#endif
