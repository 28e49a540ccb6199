using System.Runtime.InteropServices;
using LongCtx.Server;

using var stop = new CancellationTokenSource();
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true; // the server ends in its own way: replies under way say that they were cut short
    stop.Cancel();
}

using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
return await ServerProcess.RunAsync(args, LocalHost.OpenAsync, Console.Out, Console.Error, stop.Token);
