using System.Reflection;

namespace LongCtx.Client.Tests;

/// <summary>A host whose conversations all have the same adapter, which nobody had to train; everything else is the real host's.</summary>
public class LearnedHost : DispatchProxy
{
    IConversationHost host = null!;

    public static readonly AdapterExport Export = new(3, """{"peft_type":"LORA","r":8}"""u8.ToArray(), WeightsOf(200_000));

    public static readonly AdapterInfo Info = new(new() { Rank = 8, StartAfter = 0 }, true, 3, "9f2c", 1024, 1280, LearnedJournal.Updates) { GainPercent = 21.75 };

    public static IConversationHost Around(IConversationHost host)
    {
        IConversationHost proxy = Create<IConversationHost, LearnedHost>();
        ((LearnedHost)proxy).host = host;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => targetMethod!.Name switch
    {
        nameof(IConversationHost.GetAdapterAsync) => new ValueTask<AdapterInfo>(Info),
        nameof(IConversationHost.ExportAdapterAsync) => new ValueTask<AdapterExport>(Export),
        _ => targetMethod.Invoke(host, BindingFlags.DoNotWrapExceptions, null, args, null),
    };

    static byte[] WeightsOf(int length)
    {
        byte[] weights = new byte[length];
        new Random(7).NextBytes(weights);
        return weights;
    }
}
