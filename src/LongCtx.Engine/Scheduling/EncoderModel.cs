using LongCtx.Engine.Cpu;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Engine.Scheduling;

/// <summary>An encoder that an engine has loaded.</summary>
public sealed class EncoderModel
{
    internal EncoderModel(string name, ModelSource source, BertEncoder encoder)
    {
        Name = name;
        Source = source;
        Encoder = encoder;
        Tokenizer = ModelTokenizer.Load(source);
    }

    public string Name { get; }

    public ModelSource Source { get; }

    public EncoderConfig Config => Source.Encoder!;

    /// <summary>Its Encode with addSpecial puts [CLS] and [SEP] around a text.</summary>
    public Tokenizer Tokenizer { get; }

    internal BertEncoder Encoder { get; }

    internal void Dispose()
    {
        Encoder.Dispose();
        Source.Dispose();
    }
}
