"""The commands, one file each: options, one call into the core, the console."""

from waterflow_cli.commands.compare import compare
from waterflow_cli.commands.demo import demo
from waterflow_cli.commands.doctor import doctor
from waterflow_cli.commands.evaluate import evaluate
from waterflow_cli.commands.explore import explore
from waterflow_cli.commands.limits import limits
from waterflow_cli.commands.models import models
from waterflow_cli.commands.monitor import monitor
from waterflow_cli.commands.plugins import plugins
from waterflow_cli.commands.profiles import profiles
from waterflow_cli.commands.replay import replay
from waterflow_cli.commands.reproduce import reproduce
from waterflow_cli.commands.retrain import retrain
from waterflow_cli.commands.schemas import schemas
from waterflow_cli.commands.score import score
from waterflow_cli.commands.serve import serve
from waterflow_cli.commands.simulate import simulate
from waterflow_cli.commands.train import train
from waterflow_cli.commands.ui import ui
from waterflow_cli.commands.validate import validate

COMMANDS = (
    demo,
    validate,
    explore,
    train,
    evaluate,
    compare,
    retrain,
    reproduce,
    score,
    serve,
    monitor,
    replay,
    simulate,
    plugins,
    schemas,
    limits,
    profiles,
    models,
    ui,
    doctor,
)
