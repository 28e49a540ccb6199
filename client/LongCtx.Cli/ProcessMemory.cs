using System.Diagnostics;

namespace LongCtx.Cli;

/// <summary>Physical memory of this process, mapped model files included, in MiB.</summary>
internal static class ProcessMemory
{
    const double Mebibyte = 1 << 20;

    public static double PeakMegabytes
    {
        get
        {
            using var process = Process.GetCurrentProcess();
            return Math.Round(process.PeakWorkingSet64 / Mebibyte, 1);
        }
    }

    public static double ResidentMegabytes => Math.Round(Environment.WorkingSet / Mebibyte, 1);
}
